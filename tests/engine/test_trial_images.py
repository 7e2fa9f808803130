"""The small image by which a model is tried after failures: every family draws it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.engine import odd_pipelines, tiny_variants
from tests.engine.pipeline_jobs import run
from tests.models import CANVAS

from limner_shared.circuit_breaker import Breaker
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import built_in_cards, load_card
from limner_shared.domain.unsupported import UnsupportedByModel
from limner_shared.errors import GenerationFailed
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.registry import load
from limner_worker.runtime.model_trials import FAILURES_IN_A_ROW, ModelTrials

BUILT_IN = {card.name: card for card in built_in_cards()}


def trial_of(card: ModelCard) -> JobRun:
    given: list[JobRun] = []
    trials = ModelTrials({card.name: card}, {card.name: Breaker(1, 10, 60)}, given.extend)
    for _ in range(FAILURES_IN_A_ROW):
        trials.job_failed(card.name, GenerationFailed())
    [trial] = given
    return trial


@pytest.mark.parametrize("name", ["limner-flow", "limner-gan", "canvas", "controlled"])
def test_every_family_draws_its_trial(name: str, tmp_path: Path):
    build = tiny_variants.BUILDERS["StableDiffusionControlNetPipeline"]
    card = BUILT_IN.get(name) or load_card(CANVAS)
    if name == "controlled":
        card = odd_pipelines.saved(build, tmp_path, control={}, tasks=["inpainting"])
    generator: Any = load(card, Settings(device="cpu"))
    if name == "controlled":
        assert generator.unsupported == UnsupportedByModel(fields={"inpainting": ("guidance_rescale",)})
    trial = trial_of(card)
    assert run(generator, [trial]) == {}
    picture = trial.rows[0].picture
    assert picture is not None
    assert picture.shape[2] == 3
