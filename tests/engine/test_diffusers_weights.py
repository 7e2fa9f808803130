"""Cards, schedulers and weights of diffusers models: bad ones are refused with the model's name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engine.pipeline_jobs import CARD, card_of, finish, folder, job_of

from limner_shared.domain.catalogue import load_card
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.registry import load

__all__ = ["folder"]


def test_a_card_with_a_missing_folder_is_refused_with_its_name(tmp_path: Path):
    file = tmp_path / "gone.toml"
    card = CARD.format(family="nowhere", tasks=["text-to-image"], schedulers=[], negative_prompts="true")
    file.write_text(card)
    with pytest.raises(CardError, match="nowhere"):
        load(load_card(file), Settings(device="cpu"))


def test_a_scheduler_that_does_not_fit_is_refused_with_those_that_do(folder: Path):
    card = card_of("stable_diffusion", folder).model_copy(update={"schedulers": ("NoSuchScheduler",)})
    with pytest.raises(CardError, match=r"NoSuchScheduler.*DDIMScheduler"):
        load(card, Settings(device="cpu"))


def test_pickled_weights_are_never_read(folder: Path, tmp_path: Path):
    card = card_of("stable_diffusion", folder)
    copy = tmp_path / "pickled"
    shutil.copytree(folder / "stable_diffusion", copy)
    for weights in copy.rglob("*.safetensors"):
        torch.save({}, weights.with_suffix(".bin"))
        weights.unlink()
    with pytest.raises(CardError, match="pickled weights"):
        load(
            card.model_copy(update={"source": card.source.model_copy(update={"folder": copy})}), Settings(device="cpu")
        )


def test_a_weights_file_with_another_hash_than_the_card_expects_is_refused(folder: Path):
    card = card_of("stable_diffusion", folder)
    name = "unet/diffusion_pytorch_model.safetensors"
    with pytest.raises(CardError, match=f"{name} has [0-9a-f]{{64}}, but the card expects 00"):
        load(card.model_copy(update={"sha256": {name: "00"}}), Settings(device="cpu"))


def test_a_damaged_weights_file_is_refused_with_the_models_name(folder: Path, tmp_path: Path):
    card = card_of("stable_diffusion", folder)
    copy = tmp_path / "damaged"
    shutil.copytree(folder / "stable_diffusion", copy)
    weights = copy / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CardError, match=r"tiny: .* is damaged or was cut off"):
        load(
            card.model_copy(update={"source": card.source.model_copy(update={"folder": copy})}), Settings(device="cpu")
        )


def test_texts_are_padded_to_what_the_encoder_takes_where_the_tokenizers_files_name_no_limit(
    folder: Path, tmp_path: Path
):
    card = card_of("stable_diffusion_xl", folder)
    shutil.copytree(folder / "stable_diffusion_xl", tmp_path / "unlimited")
    for number, limit in (("", 10**8), ("_2", 10**30)):  # padding to the first would take minutes
        file = tmp_path / f"unlimited/tokenizer{number}/tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": limit}))
    unlimited = card.model_copy(update={"source": card.source.model_copy(update={"folder": tmp_path / "unlimited"})})
    drawn: list[np.ndarray] = []
    for each in (card, unlimited):
        generator: Any = load(each, Settings(device="cpu"))
        drawn += finish(generator, generator.start([job_of(each, "a", {"prompt": "a cat", "seed": 1}).rows[0].task]))
    assert np.array_equal(drawn[0], drawn[1])


@pytest.mark.parametrize("family", ["stable_diffusion_xl", "stable_diffusion_3", "z_image"])
def test_embeddings_of_another_worker_come_from_redis_and_give_the_same_bytes(
    folder: Path, family: str, redis_url: str
):
    card = card_of(family, folder)
    settings = Settings(device="cpu", encoder_cache_url=redis_url)
    one, other = load(card, settings), load(card, settings)
    first, second = (job_of(card, "a", {"prompt": "a cat", "seed": 1}).rows[0].task for _ in "12")
    [expected] = finish(one, one.start([first]))
    longer = {"prompt": "a dog in a garden with a fence", "negative_prompt": "a bird"}
    other.start([job_of(card, "b", longer).rows[0].task])
    calls = count_texts(other)
    [found] = finish(other, other.start([second]))
    assert calls == []
    assert np.array_equal(found, expected)


def count_texts(generator: Any) -> list[str]:
    """Record the names of the text encoders that are called from now on."""
    called: list[str] = []
    for name, function in list(generator._functions.items()):
        if name.startswith("text_encoder"):

            def counted(*args: Any, _name: str = name, _function: Any = function, **kwargs: Any) -> Any:
                called.append(_name)
                return _function(*args, **kwargs)

            generator._functions[name] = counted
    return called
