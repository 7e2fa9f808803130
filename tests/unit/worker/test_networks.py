"""The built-in networks: shapes, initial outputs, and saving and loading of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import FlowTransformer, sinusoid
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, load_module, save_module

STYLES = ("ink", "oil")


def small_autoencoder() -> Autoencoder:
    cast("Any", torch).manual_seed(0)
    return Autoencoder(wide=16, deep=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1)).eval()


def small_flow() -> FlowTransformer:
    """A small transformer with random weights in all layers: a new one has a last layer of zeros."""
    cast("Any", torch).manual_seed(0)
    network = FlowTransformer(STYLES, width=48, depth=2, heads=2, modulation=16, draft_width=16)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network.eval()


def flow_inputs(count: int = 3) -> dict[str, Tensor]:
    cast("Any", torch).manual_seed(1)
    return {
        "latents": torch.randn(count, 16, 8, 8),
        "times": torch.rand(count),
        "text": nn.functional.normalize(torch.randn(count, 384), dim=1),
        "style": torch.zeros(count, dtype=torch.int64),
        "text_null": torch.zeros(count, dtype=torch.bool),
    }


def test_the_autoencoder_encodes_and_decodes_with_the_expected_shapes() -> None:
    network = small_autoencoder()
    mean, logvar = network.encode(torch.zeros(2, 3, 64, 64))
    assert mean.shape == logvar.shape == (2, 16, 8, 8)
    assert network.decode(mean).shape == (2, 3, 64, 64)


def test_normalising_latents_can_be_undone() -> None:
    network = small_autoencoder()
    network.latent_mean.normal_()
    network.latent_std.uniform_(0.5, 2.0)
    latents = torch.randn(2, 16, 8, 8)
    torch.testing.assert_close(network.denormalise(network.normalise(latents)), latents)


def test_an_untrained_flow_predicts_no_motion() -> None:
    network = FlowTransformer(STYLES, width=48, depth=1, heads=2, modulation=16, draft_width=16)
    assert not network(**flow_inputs()).any()


@torch.no_grad()
def test_the_flow_depends_on_time_text_and_style() -> None:
    network, inputs = small_flow(), flow_inputs()
    before = network(**inputs)
    assert before.shape == (3, 16, 8, 8)
    for name, other in (
        ("times", inputs["times"] / 2),
        ("text", -inputs["text"]),
        ("style", torch.full((3,), len(STYLES))),
        ("text_null", torch.ones(3, dtype=torch.bool)),
    ):
        changed = network(**{**inputs, name: other})
        assert not torch.allclose(before, changed), f"{name} changes nothing"


@torch.no_grad()
def test_a_null_text_replaces_the_text() -> None:
    network, inputs = small_flow(), flow_inputs()
    inputs["text_null"] = torch.ones(3, dtype=torch.bool)
    torch.testing.assert_close(network(**inputs), network(**{**inputs, "text": -inputs["text"]}))


@torch.no_grad()
def test_a_row_does_not_depend_on_the_other_rows_of_its_batch() -> None:
    network, inputs = small_flow(), flow_inputs()
    together = network(**inputs)
    alone = network(**{name: value[1:2] for name, value in inputs.items()})
    torch.testing.assert_close(together[1:2], alone, atol=1e-5, rtol=1e-4)


def test_a_patch_of_the_flow_returns_to_its_position() -> None:
    """In a network without attention, a change of one patch affects only that position."""
    network, inputs = small_flow(), flow_inputs(1)
    for block in network.blocks:
        nn.init.zeros_(cast(nn.Linear, block.project).weight)
        nn.init.zeros_(cast(nn.Linear, block.project).bias)
    changed = {**inputs, "latents": inputs["latents"].clone()}
    changed["latents"][0, :, 2:4, 6:8] += 1
    with torch.no_grad():
        moved = (network(**inputs) - network(**changed)).abs().sum(1)[0] > 1e-6
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:4, 6:8] = True
    assert torch.equal(moved, expected)


@torch.no_grad()
def test_the_flow_uses_its_draft_and_drops_it_only_in_training() -> None:
    network, inputs = small_flow(), flow_inputs()
    before = network(**inputs)
    torch.testing.assert_close(network(**inputs), before)
    assert not torch.allclose(network.train()(**inputs), before)
    nn.init.zeros_(network.embed_draft.weight)
    blind = network.eval()(**inputs)
    assert not torch.allclose(blind, before)
    torch.testing.assert_close(network.train()(**inputs), blind)


def test_different_times_have_different_embeddings() -> None:
    embedded = sinusoid(torch.linspace(0, 1, 50))
    assert embedded.shape == (50, 128)
    assert (torch.cdist(embedded, embedded) + 100 * torch.eye(50)).min() > 0.1


def test_an_untrained_upscaler_enlarges_bilinearly() -> None:
    network, picture = Upscaler(channels=8, convolutions=1).eval(), torch.rand(1, 3, 16, 16)
    plain = nn.functional.interpolate(picture, scale_factor=4, mode="bilinear")
    torch.testing.assert_close(network(picture), plain)


def test_the_upscaler_output_is_clamped_to_the_range_of_pictures() -> None:
    network = Upscaler(channels=8, convolutions=1).eval()
    assert network.last.bias is not None
    nn.init.constant_(network.last.bias, 5.0)
    assert network(torch.zeros(1, 3, 8, 8)).max() == 1.0


def test_saved_weights_are_loaded_as_float32(tmp_path: Path) -> None:
    network, path = small_flow(), tmp_path / "flow.safetensors"
    save_module(network, path, network.config)
    loaded = load_module(FlowTransformer, path)
    assert loaded.styles == STYLES
    assert loaded.config == network.config
    assert not loaded.training
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, network.state_dict()[name].half().float())
    assert [file.name for file in tmp_path.iterdir()] == ["flow.safetensors"]


def test_weights_are_saved_as_float16(tmp_path: Path) -> None:
    network, path = small_autoencoder(), tmp_path / "autoencoder.safetensors"
    save_module(network, path, network.config)
    with safe_open(path, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in network.state_dict()} == {torch.float16}
        assert json.loads(cast("Any", file).metadata()["config"])["wide"] == 16


def test_missing_foreign_and_damaged_weights_have_different_errors(tmp_path: Path) -> None:
    network, path = small_autoencoder(), tmp_path / "autoencoder.safetensors"
    with pytest.raises(WeightsError, match="no weights at"):
        load_module(Autoencoder, path)
    save_module(network, path, network.config)
    with pytest.raises(WeightsError, match="holds a Autoencoder, not a Upscaler"):
        load_module(Upscaler, path)
    save_module(network, path, {**network.config, "wide": 32})
    with pytest.raises(WeightsError, match="does not match its metadata"):
        load_module(Autoencoder, path)
    path.write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="not a weights file"):
        load_module(Autoencoder, path)
