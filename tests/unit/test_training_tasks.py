"""Each stage's batches, losses and scores, on a handful of synthetic drawings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import FlowTransformer
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, save_module
from limner_worker.training import autoencoder as pictures
from limner_worker.training import captions as words
from limner_worker.training import flow, stages
from limner_worker.training import upscaler as enlargement
from limner_worker.training.data import Drawing

APPLE = Drawing("1f34e", "noto", "red apple", ("fruit", "red"), "Food & Drink")
CAT = Drawing("1f431", "flat", "cat face", ("cat", "pet", "animal"), "Animals & Nature")
CLOCK = Drawing("1f550", "flat", "one o\u2019clock", ("1:00", "clock"), "Travel & Places")
SYMBOL = Drawing("24c2", "flat", "circled M", ("circle",), "Symbols")


def drawn(count: int = 6, size: int = 64) -> np.ndarray:
    """Squares of different colours on white, uint8 [count, size, size, 3]."""
    pixels = np.full((count, size, size, 3), 255, np.uint8)
    for index, picture in enumerate(pixels):
        picture[size // 4 : size // 2, size // 4 : size // 2] = (40 * index, 0, 255 - 40 * index)
    return pixels


def small_autoencoder() -> Autoencoder:
    torch.manual_seed(0)
    return Autoencoder(wide=16, deep=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1))


def counted(texts: Sequence[str]) -> Tensor:
    """Embed each text as a unit vector of its own."""
    return nn.functional.one_hot(torch.tensor([sum(map(ord, text)) % 384 for text in texts]), 384).float()


def test_pixels_become_tensors_between_minus_one_and_one() -> None:
    tensor = pictures.to_tensor(np.array([[[[0, 255, 127]]]], np.uint8))
    assert tensor.shape == (1, 3, 1, 1)
    torch.testing.assert_close(tensor.flatten(), torch.tensor([-1.0, 1.0, -0.0039216]))


def test_augmented_drawings_keep_their_size_and_white_ground() -> None:
    pixels = drawn()
    augmented = pictures.augment(pixels, np.random.default_rng(0))
    assert augmented.shape == pixels.shape
    assert not np.array_equal(augmented, pixels)
    assert (augmented[:, 0, 0] == 255).all()
    assert np.array_equal(pixels, drawn())  # the data themselves stay as they are


def test_a_sharper_picture_has_the_lower_loss() -> None:
    target = pictures.to_tensor(drawn())
    blurred = nn.functional.avg_pool2d(target, 5, stride=1, padding=2, count_include_pad=False)
    assert pictures.picture_loss(target, target) == 0
    assert pictures.picture_loss(blurred, target) > 0


def test_psnr_is_that_of_the_definition() -> None:
    target = torch.zeros(1, 3, 8, 8)
    assert pictures.psnr(target + 10 / 127.5, target).item() == pytest.approx(20 * np.log10(25.5), abs=1e-3)


def test_training_the_decoder_leaves_the_encoder_alone() -> None:
    network = small_autoencoder()
    task = pictures.AutoencoderTask(network, drawn(), np.arange(6), np.random.default_rng(0), 4, decoder_only=True)
    loss, count = task.losses()
    loss.backward()
    assert count == 4
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    assert all(parameter.grad is not None for parameter in network.decoder.parameters())


def test_measured_latents_are_normal() -> None:
    network, pixels = small_autoencoder(), drawn()
    pictures.measure_latents(network, pixels)
    latents = network.normalise(pictures.encode_all(network, pixels)[0])
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(16), atol=1e-4, rtol=0)


def test_captions_hold_the_name_the_short_name_and_keywords() -> None:
    texts = dict(words.captions(CAT, Counter(CAT.keywords), np.random.default_rng(0)))
    assert len(words.captions(CAT, Counter(CAT.keywords), np.random.default_rng(0))) == words.TABLE_SIZE
    assert {"cat face", "cat", "a cat", "pet"} <= set(texts)
    assert max(texts, key=lambda text: texts[text]) == "cat face"


def test_a_keyword_of_many_concepts_is_rare_as_a_caption() -> None:
    texts = dict(words.captions(APPLE, Counter({"fruit": 20, "red": 2}), np.random.default_rng(0)))
    assert texts["fruit"] < texts["red"] < texts["red apple"]


def test_names_are_written_as_people_write() -> None:
    assert words.plain_name("Woman: One O\u2019Clock") == "woman, one o'clock"


def test_a_concept_has_the_same_captions_in_every_style_and_they_come_back_from_disk(tmp_path: Path) -> None:
    other = Drawing(APPLE.concept, "3d", *list(vars(APPLE).values())[2:])
    table = words.caption_table([APPLE, other, CAT], counted, np.random.default_rng(0))
    assert np.array_equal(table.rows[0], table.rows[1])
    table.save(tmp_path / "captions.safetensors")
    loaded = words.CaptionTable.load(tmp_path / "captions.safetensors")
    drawn_texts = [each.draw(np.array([0, 2, 2]), np.random.default_rng(3)) for each in (table, loaded)]
    torch.testing.assert_close(*drawn_texts)
    torch.testing.assert_close(drawn_texts[0].norm(dim=1), torch.ones(3))


def test_symbols_and_clocks_get_less_of_the_capacity() -> None:
    apple, clock, symbol = words.weights([APPLE, CLOCK, SYMBOL])
    assert apple > 5 * clock
    assert apple > 5 * symbol
    assert apple + clock + symbol == pytest.approx(1)


def flow_task() -> flow.FlowTask:
    torch.manual_seed(0)
    network = FlowTransformer(("noto", "flat"), width=48, depth=1, heads=2, modulation=16, draft_width=16)
    return flow.FlowTask(
        network,
        latents=torch.randn(2, 16, 8, 8),
        deviations=torch.full((2, 16, 8, 8), 0.1),
        styles=torch.tensor([0, 1]),
        captions=words.caption_table([APPLE, CAT], counted, np.random.default_rng(0)),
        rows=np.arange(2),
        shares=np.array([0.5, 0.5]),
        generator=np.random.default_rng(0),
        batch=16,
    )


def test_an_untrained_flow_scores_the_variance_of_its_target() -> None:
    loss, count = flow_task().losses()
    assert count == 16
    assert loss.item() == pytest.approx(2.0, rel=0.1)  # unit data minus unit noise


def test_the_flows_score_is_the_same_each_time_and_touches_no_generator() -> None:
    task = flow_task()
    state = torch.random.get_rng_state()
    first = flow.score(task.network, task, np.arange(2))
    assert torch.equal(state, torch.random.get_rng_state())
    torch.rand(5)
    assert flow.score(task.network, task, np.arange(2)) == first


def test_an_untrained_draft_is_about_as_wrong_as_none() -> None:
    task = flow_task()
    nn.init.zeros_(task.network.draft.final.weight)
    nn.init.zeros_(task.network.draft.final.bias)
    loss, count = task.draft_losses()
    assert count == 16
    assert loss.item() == pytest.approx(1.0, rel=0.1)
    assert flow.draft_score(task.network.draft, task, np.arange(2)) == pytest.approx(1.0, rel=0.1)


def test_times_lie_between_noise_and_data() -> None:
    times = flow.draw_times(1_000)
    assert times.min() > 0
    assert times.max() < 1
    assert times.median().item() == pytest.approx(0.5, abs=0.05)


class Straight(FlowTransformer):
    """A flow that knows the one picture that there is: the velocity towards it is exact."""

    def forward(self, latents: Tensor, times: Tensor, text: Tensor, style: Tensor, text_null: Tensor) -> Tensor:
        return (torch.full_like(latents, 0.5) - latents) / (1 - times)[:, None, None, None]


def test_euler_steps_along_an_exact_velocity_arrive_at_the_data() -> None:
    text, style = torch.zeros(2, 384), torch.zeros(2, dtype=torch.int64)
    latents = flow.sample(Straight(width=48, depth=1, heads=2), text, style, steps=7)
    torch.testing.assert_close(latents, torch.full((2, 16, 8, 8), 0.5), atol=1e-4, rtol=0)


def test_a_samples_noise_depends_on_its_seed_alone() -> None:
    network = FlowTransformer(width=48, depth=1, heads=2)  # untrained: the noise comes back
    text, style = torch.zeros(2, 384), torch.zeros(2, dtype=torch.int64)
    second = flow.sample(network, text, style, steps=1, seed=4)[1:]
    torch.testing.assert_close(second, flow.sample(network, text[:1], style[:1], steps=1, seed=5))


def test_the_upscalers_task_gives_crops_that_fit_each_other() -> None:
    large = drawn(4, 256)
    small = np.rint(large.reshape(4, 64, 4, 64, 4, 3).mean((2, 4))).astype(np.uint8)
    task = enlargement.UpscalerTask(
        Upscaler(channels=8, convolutions=1), small, small, large, np.arange(4), np.random.default_rng(0), 4
    )
    loss, count = task.losses()
    assert count == 4
    assert loss.item() < 0.2  # bilinear enlargement of squares is nearly right; a wrong crop is not
    ours, bicubic = enlargement.score(task.network, small, large)
    assert 15 < ours < bicubic + 3


def test_export_copies_all_three_networks_or_says_what_is_missing(tmp_path: Path) -> None:
    cache, target = tmp_path / "cache", tmp_path / "target"
    networks = {"autoencoder": small_autoencoder(), "flow": flow_task().network, "upscaler": Upscaler(8, 1)}
    for name, network in networks.items():
        with pytest.raises(WeightsError, match="no weights"):
            stages.export(cache, target)
        save_module(network, cache / f"{name}.safetensors", network.config)
    assert set(stages.export(cache, target)) == set(networks)
    assert {file.name for file in target.iterdir()} == {f"{name}.safetensors" for name in networks}
