"""What the evaluator sees in a picture is told to those who present it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from limner_shared.cards import Catalogue
from limner_shared.jobs import JobRequest
from limner_shared.settings import Settings
from limner_worker import sight
from limner_worker.generators.base import ImageTask
from limner_worker.generators.catalogue import load
from limner_worker.language import Presenter, sights_of
from limner_worker.llm import present
from limner_worker.networks.weights import WeightsError
from limner_worker.sight import EvaluatorSight, save_names

SHIPPED = Path(sight.__file__).parent / "models" / "limner-text"


def drawn(catalogue: Catalogue, prompt: str) -> np.ndarray:
    """What the instant model draws."""
    card, spec = catalogue.resolve(JobRequest(prompt=prompt, model="limner-gan", seed=1, style="noto"))
    model = load(card, Settings(device="cpu"))
    states = model.start([ImageTask(spec, spec.seed)])
    model.step(states)
    return model.decode(states)[0]


@pytest.mark.parametrize("prompt", ["red apple", "rocket", "pizza"])
def test_what_was_drawn_is_seen(catalogue, prompt):
    seen = EvaluatorSight(SHIPPED)(drawn(catalogue, prompt))
    assert prompt in [name for name, _ in seen]
    assert all(score >= sight.SURE for _, score in seen)


def test_in_noise_nothing_is_seen():
    noise = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    assert EvaluatorSight(SHIPPED)(noise) == []


def test_a_folder_without_names_is_refused(tmp_path):
    (tmp_path / "tower.safetensors").symlink_to(SHIPPED / "tower.safetensors")
    with pytest.raises(WeightsError, match="no file of names"):
        EvaluatorSight(tmp_path)
    save_names(["a", "b"], torch.eye(2, 384), tmp_path)
    assert EvaluatorSight(tmp_path)(np.zeros((64, 64, 3), np.uint8)) == []


def test_built_in_models_are_looked_at_and_others_are_not(catalogue):
    cards = {name: catalogue.get(name) for name in ("limner-flow", "limner-gan")}
    other = cards["limner-gan"].model_copy(update={"text_encoder": None})
    assert set(sights_of(cards | {"other": other})) == set(cards)
    assert sights_of({"other": other}) == {}


def test_a_picture_that_looks_like_something_else_is_presented_with_that(catalogue):
    _, spec = catalogue.resolve(JobRequest(description="a purple flower"))
    picture = np.zeros((64, 64, 3), np.uint8)
    words = Presenter(sights={spec.model: lambda _: [("hibiscus", 0.8)]})(spec, picture)
    assert words.endswith("To my eye it looks most like “hibiscus”.")
    assert "eye" not in Presenter(sights={spec.model: lambda _: [("cherry blossom", 0.8), ("flower", 0.7)]})(
        spec, picture
    )
    assert "eye" not in present.by_rules(spec)
