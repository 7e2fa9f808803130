"""Weights that must not be read, or cannot be, are refused with a code and the reason; other models are served."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from structlog.testing import capture_logs
from tests.engine import odd_pipelines, pipelines

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators import model_errors
from limner_worker.generators.diffusers.pipeline_loading import LoadedPipeline
from limner_worker.generators.model_cache import ModelCache
from limner_worker.generators.model_errors import AdapterMismatch, DamagedWeights, PickledWeights
from limner_worker.generators.registry import load

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tiny pipelines, each with a LoRA adapter in `of-…`."""
    folder = tmp_path_factory.mktemp("weights")
    for build in (pipelines.stable_diffusion, pipelines.stable_diffusion_xl):
        odd_pipelines.saved(build, folder)
        pipelines.save_lora(build.__name__, folder).rename(folder / f"of-{build.__name__}")
    return folder


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(folder / "stable_diffusion", tmp_path / "copied"))


def refused(kind: type[CardError], card: ModelCard) -> str:
    with pytest.raises(CardError) as error:
        LoadedPipeline.of(card, "cpu")
    assert type(error.value) is kind
    return error.value.message


def test_pickled_weights_are_refused_with_their_names(copied: Path) -> None:
    (copied / UNET).rename((copied / UNET).with_suffix(".bin"))
    message = refused(PickledWeights, odd_pipelines.card(copied))
    assert "unet/diffusion_pytorch_model.bin: pickled weights" in message
    assert "safe_serialization=True" in message


def test_a_checkpoint_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").write_bytes(b"x")
    assert "model.ckpt is a pickle" in refused(PickledWeights, odd_pipelines.card(tmp_path / "model.ckpt"))


def test_a_checkpoint_in_one_file_is_refused_with_the_line_that_makes_a_folder_of_it(folder: Path) -> None:
    file = folder / "of-stable_diffusion" / "pytorch_lora_weights.safetensors"
    message = refused(CardError, odd_pipelines.card(file))
    assert "pytorch_lora_weights.safetensors is a file, and folder must name a folder: make one of it" in message
    assert '.from_single_file("pytorch_lora_weights.safetensors").save_pretrained("pytorch_lora_weights")' in message
    ink = {"ink": Source(folder=file)}
    message = refused(CardError, odd_pipelines.card(folder / "stable_diffusion", adapters=ink))
    assert "name one that holds this file alone, or put it into adapter_folder" in message


def test_a_truncated_file_is_named(copied: Path) -> None:
    size = (copied / UNET).stat().st_size
    for left in (size - 1, 100, 0):
        os.truncate(copied / UNET, left)
        assert f"{UNET} is damaged or was cut off" in refused(DamagedWeights, odd_pipelines.card(copied))


def test_a_missing_shard_is_named(copied: Path) -> None:
    index = (copied / UNET).with_name("diffusion_pytorch_model.safetensors.index.json")
    index.write_text(json.dumps({"weight_map": {"one": "a-00001-of-00002.safetensors"}}))
    assert "a-00001-of-00002.safetensors" in refused(DamagedWeights, odd_pipelines.card(copied))
    index.write_text("[]")
    assert "index.json is damaged" in refused(DamagedWeights, odd_pipelines.card(copied))


@pytest.mark.parametrize(
    ("base", "adapter", "reason"),
    [
        ("stable_diffusion", "of-stable_diffusion_xl", "does not fit this StableDiffusionPipeline"),
        ("stable_diffusion_xl", "of-stable_diffusion", "does not fit this StableDiffusionXLPipeline"),
    ],
)
def test_an_adapter_of_another_base_model_is_refused(folder: Path, base: str, adapter: str, reason: str) -> None:
    card = odd_pipelines.card(folder / base, adapters={"ink": Source(folder=folder / adapter)})
    message = refused(AdapterMismatch, card)
    assert "the adapter ink" in message
    assert reason in message


def test_an_adapter_of_which_no_layer_is_in_the_pipeline_is_refused(folder: Path, tmp_path: Path) -> None:
    odd_pipelines.saved(pipelines.flux, tmp_path)
    ink = {"ink": Source(folder=folder / "of-stable_diffusion")}
    message = refused(AdapterMismatch, odd_pipelines.card(tmp_path / "flux", adapters=ink))
    assert "none of its 16 layers is in this FluxPipeline" in message


def test_an_ip_adapter_in_place_of_a_lora_is_refused_by_its_name(folder: Path, tmp_path: Path) -> None:
    layers = {"image_proj.proj.weight": torch.zeros(2, 2), "ip_adapter.1.to_k_ip.weight": torch.zeros(2, 2)}
    save_file(layers, tmp_path / "ip-adapter.safetensors")
    card = odd_pipelines.card(folder / "stable_diffusion", adapters={"face": Source(folder=tmp_path)})
    assert "the adapter face is an IP-Adapter, which needs a picture" in refused(AdapterMismatch, card)


def test_a_pickled_adapter_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "pytorch_lora_weights.bin").write_bytes(b"x")
    card = odd_pipelines.card(folder / "stable_diffusion", adapters={"ink": Source(folder=tmp_path)})
    assert "pytorch_lora_weights.bin" in refused(PickledWeights, card)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_an_adapter_with_weights_that_are_not_finite_is_refused(folder: Path, tmp_path: Path, number: float) -> None:
    file = tmp_path / "pytorch_lora_weights.safetensors"
    weights = load_file(folder / "of-stable_diffusion" / file.name)
    key = min(weights)
    weights[key][0, 0] = number
    save_file(weights, file)
    card = odd_pipelines.card(folder / "stable_diffusion", adapters={"ink": Source(folder=tmp_path)})
    assert f"the adapter ink has weights that are not finite numbers: {key}" in refused(DamagedWeights, card)


def test_a_model_with_weights_that_are_not_finite_is_refused(copied: Path) -> None:
    weights = load_file(copied / UNET)
    weights["conv_in.weight"][0] = float("nan")
    save_file(weights, copied / UNET, {"format": "pt"})
    with pytest.raises(CardError, match="odd: text-to-image: the picture's numbers are not finite: its weights are"):
        load(odd_pipelines.card(copied), Settings(device="cpu", cache_dir=copied / "cache"))


@pytest.mark.parametrize("lie", [{"data_offsets": [0, 2**60]}, {"data_offsets": [8, 0]}, {"shape": [2**40, 2**40]}])
def test_a_header_that_lies_about_sizes_is_refused(copied: Path, lie: dict[str, Any]) -> None:
    data = (copied / UNET).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header: dict[str, Any] = json.loads(data[8 : 8 + length])
    header["conv_in.bias"] |= lie
    changed = json.dumps(header).encode()
    (copied / UNET).write_bytes(len(changed).to_bytes(8, "little") + changed + data[8 + length :])
    assert f"{UNET} is damaged" in refused(DamagedWeights, odd_pipelines.card(copied))


def test_a_header_longer_than_the_file_is_refused(copied: Path) -> None:
    data = (copied / UNET).read_bytes()
    (copied / UNET).write_bytes((2**62).to_bytes(8, "little") + data[8:])
    assert f"{UNET} is damaged" in refused(DamagedWeights, odd_pipelines.card(copied))


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("unet/config.json", "layers_per_block"),
        ("text_encoder/config.json", "num_hidden_layers"),
        ("scheduler/scheduler_config.json", "num_train_timesteps"),
    ],
)
def test_a_number_that_would_take_hours_to_build_is_named(copied: Path, file: str, key: str) -> None:
    config = json.loads((copied / file).read_text())
    for count in (10**9, [10**9, 1]):
        (copied / file).write_text(json.dumps(config | {key: count}))
        assert f"{file}: {key} is 1000000000" in refused(DamagedWeights, odd_pipelines.card(copied))
    (copied / file).write_text("{")
    assert f"{file} is damaged" in refused(DamagedWeights, odd_pipelines.card(copied))


@pytest.mark.parametrize(
    ("file", "weight"),
    [
        (UNET, "conv_in.weight"),
        ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_in.bias"),
        ("text_encoder/model.safetensors", "encoder.layers.0.mlp.fc1.weight"),
    ],
)
def test_a_file_without_a_weight_that_its_part_needs_is_refused(copied: Path, file: str, weight: str) -> None:
    weights = load_file(copied / file)
    del weights[weight]
    save_file(weights, copied / file, {"format": "pt"})
    message = refused(DamagedWeights, odd_pipelines.card(copied))
    assert f"{Path(file).parent.name}: its files have no weights for {weight}: copy" in message


def test_weights_of_other_shapes_than_the_configuration_says_are_refused(copied: Path) -> None:
    file = copied / "text_encoder/model.safetensors"
    weights = load_file(file)
    save_file(weights | {"final_layer_norm.weight": torch.zeros(3)}, file, {"format": "pt"})
    assert "have other shapes than its config.json says" in refused(CardError, odd_pipelines.card(copied))


@pytest.mark.parametrize("name", ["tokenizer", "tokenizer/tokenizer.json"])
def test_a_tokenizer_without_its_words_is_refused(copied: Path, name: str) -> None:
    (copied / name).rename(copied.parent / "gone")
    assert "tokenizer knows no words" in refused(DamagedWeights, odd_pipelines.card(copied))


def test_the_weights_of_a_part_that_is_a_link_to_another_folder_are_hashed(copied: Path) -> None:
    card = odd_pipelines.card(copied)
    expected = LoadedPipeline.of(card, "cpu").weights
    (copied / "unet").rename(copied.parent / "unet-elsewhere")
    (copied / "unet").symlink_to(copied.parent / "unet-elsewhere")
    (copied / "all").symlink_to(copied.parent)
    assert UNET in expected
    assert LoadedPipeline.of(card, "cpu").weights == expected


@pytest.mark.parametrize("file", ["scheduler/scheduler_config.json", "tokenizer/tokenizer_config.json"])
def test_a_pipeline_that_is_built_in_another_way_from_equal_weights_is_another_model(copied: Path, file: str) -> None:
    before = LoadedPipeline.of(odd_pipelines.card(copied), "cpu")
    (copied / file).write_text(json.dumps(json.loads((copied / file).read_text()) | {"note": "changed"}))
    (copied / "README.md").write_text("Changes nothing.")
    after = LoadedPipeline.of(odd_pipelines.card(copied), "cpu")
    assert after.weights == before.weights
    assert after.about["configuration"] != before.about["configuration"]


def test_links_and_pipes_among_the_weights_do_not_hold_up_a_worker(copied: Path) -> None:
    os.mkfifo(copied / "unet" / "pipe.safetensors")
    (copied / "unet" / "zero.safetensors").symlink_to("/dev/zero")
    (copied / "unet" / "gone.safetensors").symlink_to(copied / "nowhere")
    (copied / "unet" / "loop").symlink_to(copied)
    unet = (copied / UNET).rename(copied.parent / "elsewhere.safetensors")
    (copied / UNET).symlink_to(unet)
    assert LoadedPipeline.of(odd_pipelines.card(copied), "cpu").weights.keys() >= {UNET}


def test_the_other_models_are_served_and_the_log_has_code_and_reason(folder: Path, copied: Path) -> None:
    os.truncate(copied / UNET, 100)
    cards: list[Any] = [
        odd_pipelines.card(copied, name="damaged"),
        odd_pipelines.card(folder / "stable_diffusion", name="sound"),
    ]
    with capture_logs() as lines:
        models = ModelCache(cards, lambda card: load(card, Settings(device="cpu")))
    assert models.loaded == ("sound",)
    (line,) = [line for line in lines if line["event"] == "model left out"]
    assert (line["model"], line["code"]) == ("damaged", "damaged_weights")
    assert UNET in line["reason"]


def test_the_guide_names_every_code() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "diffusers-model.md").read_text("utf-8")
    kinds = [CardError, *(kind for kind in CardError.__subclasses__() if kind.__module__ == model_errors.__name__)]
    assert [kind.code for kind in kinds if f"| `{kind.code}` |" not in guide] == []
