"""A prompt of which something is left out has another one whose things are all drawn."""

from __future__ import annotations

import pytest

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation.presenting.image_recognition import EvaluatorRecognizer


@pytest.fixture(scope="module")
def evaluator() -> EvaluatorRecognizer:
    return EvaluatorRecognizer(SHIPPED / "limner-text")


def spec_of(catalogue: Catalogue, prompt: str, model: str = "limner-flow") -> JobSpec:
    return catalogue.resolve(JobRequest(prompt=prompt, model=model))[1]


@pytest.mark.parametrize(
    ("prompt", "fuller"),
    [
        ("a robot holding a flower", "a robot, a flower"),
        ("a cat between two dogs", "a cat, two dogs"),
        ("an owl with glasses reading a book", "an owl with glasses, a book"),
        ("ein Hund jagt eine Katze", "ein Hund, eine Katze"),
        ("un chat qui mange une pomme", "un chat, une pomme"),
        ("a fluffy cat", None),
        ("a blue cat and a dog", None),
        ("ghost", None),
    ],
)
def test_a_fuller_prompt_is_a_list_of_things_that_are_all_drawn(
    catalogue: Catalogue, evaluator: EvaluatorRecognizer, prompt: str, fuller: str | None
):
    assert evaluator.fuller(spec_of(catalogue, prompt)) == fuller
    if fuller is not None:
        scene = evaluator.read(spec_of(catalogue, fuller), 6).scene
        assert scene is not None
        assert scene.faithful


def test_a_model_that_draws_single_things_has_no_fuller_prompt(catalogue: Catalogue, evaluator: EvaluatorRecognizer):
    assert evaluator.fuller(spec_of(catalogue, "a robot holding a flower", "limner-gan")) is None
