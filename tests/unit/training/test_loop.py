"""The training loop: learning, time limit, weight averages, and exact continuation from a checkpoint."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from limner_training import data, loop, report, runner
from limner_training.optimizer import Muon, orthogonalise, parameter_groups
from limner_worker.networks.weights import save_module


def network() -> nn.Module:
    cast("Any", torch).manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))


def losses_of(module: nn.Module) -> Callable[[], tuple[Tensor, int]]:
    inputs = torch.linspace(-1, 1, 20).view(5, 4)
    return lambda: ((module(inputs) - inputs[:, :2]).square().mean(), 5)


def ticking_clock(seconds: float) -> Callable[[], float]:
    """Return a clock that advances by `seconds` each time it is read."""
    times: Iterator[float] = itertools.count(0.0, seconds)
    return lambda: next(times)


def test_training_lowers_the_loss_and_counts_steps_and_samples() -> None:
    training = loop.begin(network(), 0.02)
    losses = list(loop.run(training, losses_of(training.network), 1.0, warmup=5, clock=ticking_clock(0.5)))
    assert losses[-1] < losses[0] / 5
    assert training.step == len(losses)
    assert training.samples == 5 * len(losses)


def test_training_stops_at_its_time_limit() -> None:
    training = loop.begin(network(), 0.01)
    assert len(list(loop.run(training, losses_of(training.network), 1.0, clock=ticking_clock(10.0)))) == 3
    assert training.seconds == pytest.approx(60, abs=10)


def test_the_learning_rate_warms_up_and_decays_to_almost_zero() -> None:
    training = loop.begin(network(), 0.01)
    rates = [
        training.optimizer.param_groups[0]["lr"]
        for _ in loop.run(training, losses_of(training.network), 1.0, warmup=10, clock=ticking_clock(0.2))
    ]
    assert rates[0] == pytest.approx(0.001)
    assert max(rates) == pytest.approx(0.01)
    assert rates[-1] < 0.001


def test_a_nan_loss_stops_the_training() -> None:
    training = loop.begin(network(), 0.01)
    with pytest.raises(FloatingPointError, match="nan at step 0"):
        next(loop.run(training, lambda: (torch.tensor(float("nan")), 1), 1.0))


def test_the_average_follows_the_weights() -> None:
    training = loop.begin(network(), 0.01)
    before = training.average["0.weight"].clone()
    for _ in loop.run(training, losses_of(training.network), 0.1, clock=ticking_clock(0.5)):
        loop.update_average(training)
    current = training.network.state_dict()["0.weight"]
    assert 0 < (training.average["0.weight"] - current).norm() < (before - current).norm()


def test_a_restored_training_continues_identically(tmp_path: Path) -> None:
    first = loop.begin(network(), 0.01)
    list(loop.run(first, losses_of(first.network), 0.1, clock=ticking_clock(0.5)))
    first.history.append((first.step, 0.5))
    loop.save(first, tmp_path)
    second = loop.begin(network(), 0.01)
    assert loop.restore(second, tmp_path)
    assert (second.step, second.samples, second.history) == (first.step, first.samples, first.history)
    for training in (first, second):
        list(loop.run(training, losses_of(training.network), 0.1, clock=ticking_clock(0.5)))
    for name, value in first.network.state_dict().items():
        torch.testing.assert_close(value, second.network.state_dict()[name])


def test_a_new_training_has_nothing_to_restore(tmp_path: Path) -> None:
    assert not loop.restore(loop.begin(network(), 0.01), tmp_path)


def test_a_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    loop.save(loop.begin(nn.Linear(3, 3), 0.01), tmp_path)
    with pytest.raises(loop.CheckpointError, match="belongs to another network"):
        loop.restore(loop.begin(network(), 0.01), tmp_path)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "checkpoint.safetensors").write_bytes(b"half a file")
    with pytest.raises(loop.CheckpointError, match="damaged"):
        loop.restore(loop.begin(network(), 0.01), tmp_path)


def test_a_run_writes_a_checkpoint_a_curve_and_the_exported_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = loop.begin(network(), 0.01)
    shipped: list[int] = []
    runner.run_training(
        training, losses_of(training.network), tmp_path / "toy", 0.005, lambda: shipped.append(1) or "shipped"
    )
    assert shipped == [1]
    assert (tmp_path / "toy" / "checkpoint.safetensors").exists()
    report.save_curve([(1, 1.0), (2, 0.5)], tmp_path / "toy" / "loss.png", "toy")
    assert (tmp_path / "toy" / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "shipped" in capsys.readouterr().out


def diverging(module: nn.Module, step: int) -> Callable[[], tuple[Tensor, int]]:
    """Losses that are finite at this step, with a gradient that is not, as after an overflow in the backward pass."""
    losses, count = losses_of(module), itertools.count()

    def diverge() -> tuple[Tensor, int]:
        loss, samples = losses()
        first = next(module.parameters())
        return (loss + torch.sqrt(first.sum() * 0) if next(count) == step else loss), samples

    return diverge


def test_a_gradient_that_is_not_finite_stops_the_training_before_it_reaches_the_weights() -> None:
    training = loop.begin(network(), 0.01)
    with pytest.raises(FloatingPointError, match="gradient became nan at step 3"):
        list(loop.run(training, diverging(training.network, 3), 1.0))
    assert all(value.isfinite().all() for value in training.network.state_dict().values())


def test_a_training_that_diverges_keeps_its_last_checkpoint_and_exports_nothing(tmp_path: Path) -> None:
    training = loop.begin(network(), 0.01)
    loop.save(training, tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    with pytest.raises(FloatingPointError, match="resume with a lower rate"):
        runner.run_training(
            training, diverging(training.network, 3), tmp_path, 1.0, lambda: pytest.fail("it was exported")
        )
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before


def test_weights_that_are_not_finite_are_neither_saved_nor_exported(tmp_path: Path) -> None:
    training = loop.begin(network(), 0.01)
    loop.save(training, tmp_path)
    before = (tmp_path / "checkpoint.safetensors").read_bytes()
    training.average["0.weight"][0, 0] = float("nan")
    with pytest.raises(FloatingPointError, match=r"average\.0\.weight is not finite"):
        loop.save(training, tmp_path)
    assert (tmp_path / "checkpoint.safetensors").read_bytes() == before
    training.network.load_state_dict({name: value * 1e6 for name, value in training.network.state_dict().items()})
    with pytest.raises(FloatingPointError, match="is not finite"):
        save_module(training.network, tmp_path / "toy.safetensors", {})  # beyond float16
    assert not (tmp_path / "toy.safetensors").exists()


def test_an_error_of_saving_does_not_hide_the_error_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> tuple[Tensor, int]:
        monkeypatch.setattr(data, "require_disk", full)
        raise KeyboardInterrupt

    def full(*_: object) -> None:
        raise data.DataError("the disk is nearly full")

    with pytest.raises(KeyboardInterrupt):
        runner.run_training(loop.begin(network(), 0.01), fails, tmp_path, 1.0, lambda: "shipped")


@pytest.mark.parametrize("shape", [(16, 40), (40, 16), (24, 24), (260, 300)])
def test_orthogonalising_equalises_the_singular_values(shape: tuple[int, int]) -> None:
    cast("Any", torch).manual_seed(0)
    matrix = torch.randn(shape) @ torch.diag(torch.logspace(0, -1, shape[1]))
    result = orthogonalise(matrix, longest=300)
    spread: Tensor = cast("Any", torch.linalg).svdvals(result)[: min(shape) // 2]
    assert result.shape == shape
    assert spread.max() / spread.min() < 2


def test_orthogonalising_in_blocks_keeps_the_size_of_the_update() -> None:
    cast("Any", torch).manual_seed(0)
    matrix = torch.randn(256, 300)
    whole, blocks = orthogonalise(matrix, longest=256), orthogonalise(matrix, longest=64)
    assert blocks.square().mean() == pytest.approx(whole.square().mean(), rel=0.5)


def test_excluded_layers_and_vectors_use_adamw() -> None:
    module: Any = network()
    matrices, others = parameter_groups(module, [module[1]], 0.1)
    assert matrices["params"] == [module[0].weight]
    assert len(others["params"]) == 3


def test_muon_refuses_a_closure() -> None:
    with pytest.raises(ValueError, match="does not support a closure"):
        Muon(parameter_groups(network(), [], 0.0), 0.1).step(lambda: 0.0)


def test_a_sheet_has_one_row_per_tensor(tmp_path: Path) -> None:
    report.save_sheet([torch.zeros(3, 3, 8, 8), torch.ones(3, 3, 8, 8)], tmp_path / "sheet.png", gap=2)
    with Image.open(tmp_path / "sheet.png") as picture:
        assert picture.size == (3 * 10 + 2, 2 * 10 + 2)
        assert picture.getpixel((3, 3)) == (128, 128, 128)
