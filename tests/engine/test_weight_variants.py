"""Variants of weights: the card names one, only its files are downloaded and read, and receipts name no others."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.engine import model_hub, odd_pipelines, pipelines
from tests.engine.model_hub import REPOSITORY, REVISION

from limner_shared.domain.card_fields import Source
from limner_shared.errors import CardError
from limner_worker.generators.diffusers.pipeline_loading import LoadedPipeline

HALF = [
    "text_encoder/model.fp16.safetensors", "unet/diffusion_pytorch_model.fp16.safetensors",
    "vae/diffusion_pytorch_model.fp16.safetensors",
]  # fmt: skip
WHOLE = [name.replace(".fp16", "") for name in HALF]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny pipeline with its weights in two variants."""
    folder = tmp_path_factory.mktemp("variants")
    pipeline = pipelines.stable_diffusion(folder / "tokenizer")
    for variant in (None, "fp16"):
        pipeline.save_pretrained(folder / "tiny", safe_serialization=True, variant=variant)
    return folder / "tiny"


@pytest.fixture
def half(both: Path, tmp_path: Path) -> Path:
    """The same without the weights that have no variant."""
    folder = Path(shutil.copytree(both, tmp_path / "half"))
    for name in WHOLE:
        (folder / name).unlink()
    return folder


def loaded(source: Source, **more: Any) -> LoadedPipeline:
    card = odd_pipelines.card(Path("unused"), **more).model_copy(update={"source": source})
    return LoadedPipeline.of(card, "cpu")


def refused(source: Source) -> str:
    with pytest.raises(CardError) as error:
        loaded(source)
    return error.value.message


@pytest.mark.parametrize(("variant", "files"), [(None, WHOLE), ("fp16", HALF)])
def test_only_the_weights_of_the_cards_variant_are_downloaded(
    both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variant: str | None, files: list[str]
) -> None:
    with model_hub.serving(both) as hub:
        model_hub.use(hub.endpoint, tmp_path / "cache", monkeypatch)
        found = loaded(Source(hub=REPOSITORY, revision=REVISION, variant=variant))
        assert sorted(name for name in hub.sent if name.endswith(".safetensors")) == files
    assert sorted(found.weights) == files


def test_a_folder_with_both_is_read_as_the_card_says(both: Path) -> None:
    assert sorted(loaded(Source(folder=both)).weights) == WHOLE
    assert sorted(loaded(Source(folder=both, variant="fp16")).weights) == HALF


def test_a_folder_with_a_variant_only_says_what_to_write(half: Path) -> None:
    message = 'it has weights of the variant fp16 only: write variant = "fp16" into source'
    assert f"text_encoder: {message}" in refused(Source(folder=half))
    assert sorted(loaded(Source(folder=half, variant="fp16")).weights) == HALF


def test_a_repository_with_a_variant_only_says_what_to_write(
    half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_hub.serving(half) as hub:
        model_hub.use(hub.endpoint, tmp_path / "cache", monkeypatch)
        message = refused(Source(hub=REPOSITORY, revision=REVISION))
    assert 'weights of the variant fp16 only: write variant = "fp16" into source' in message


def test_a_repository_without_the_cards_variant_is_refused(
    both: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_hub.serving(both) as hub:
        model_hub.use(hub.endpoint, tmp_path / "cache", monkeypatch)
        for _ in range(2):  # without and with the list of its files in the cache
            message = refused(Source(hub=REPOSITORY, revision=REVISION, variant="bf16"))
            assert f"{REPOSITORY} has no weights of the variant bf16: correct variant in source" in message


def test_a_part_without_the_variant_is_read_as_it_is(both: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(both, tmp_path / "mixed"))
    (folder / HALF[2]).unlink()
    assert sorted(loaded(Source(folder=folder, variant="fp16")).weights) == [*HALF[:2], WHOLE[2]]


def test_a_variant_of_anything_but_a_pipeline_is_refused() -> None:
    with pytest.raises(ValueError, match="variant: only pipelines of diffusers and their refiners"):
        odd_pipelines.card(Path("folder"), adapters={"ink": Source(folder=Path("ink"), variant="fp16")})
