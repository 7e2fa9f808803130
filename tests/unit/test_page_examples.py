"""What the pages offer as examples can be drawn: the evaluator sees in the picture what the example says."""

from __future__ import annotations

from typing import Any

import pytest

from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.settings import Settings
from limner_web.pages.routes import CONVERSATION_EXAMPLES, EXAMPLES
from limner_worker.generators.base import ImageTask, Picture
from limner_worker.generators.registry import load
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation import rules
from limner_worker.stages.interpretation.image_recognition import EvaluatorRecognizer

MEANT = {  # the subject, the style and the number that each message asks for
    "a red car, please": ("a red car", None, None),
    "four pictures of a cat in flat style": ("a cat", "flat", 4),
    "请画一个红苹果": ("red apple", None, None),
    "ein Geist als 3d-Figur": ("ghost", "3d", None),
    "🦊": ("fox", None, None),
}


@pytest.fixture(scope="module")
def draw(catalogue: Catalogue):
    """Draws a prompt with the default model, as a worker does."""
    card = catalogue.get(None)
    model = load(card, Settings(device="cpu"))

    def draw(prompt: str, style: str | None = None) -> Picture:
        _, spec = catalogue.resolve(JobRequest(prompt=prompt, style=style, seed=1))
        states = model.start([ImageTask(spec, spec.seed)])
        for _ in range(spec.steps):
            model.step(states)
        return model.decode(states).pictures()[0]

    return draw


@pytest.fixture(scope="module")
def look() -> EvaluatorRecognizer:
    return EvaluatorRecognizer(SHIPPED / "limner-text")


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_picture_of_an_example_shows_it(draw: Any, look: EvaluatorRecognizer, example: Any):
    assert look(draw(example), example) == []


@pytest.mark.parametrize("message", CONVERSATION_EXAMPLES)
def test_the_picture_of_an_example_message_shows_what_it_asks_for(
    draw: Any, look: EvaluatorRecognizer, catalogue: Catalogue, message: Any
):
    subject, style, number = MEANT[message]
    card = catalogue.get(None)
    found = rules.interpret(message, card.styles, (), card.sizes)
    assert (found.style, found.n) == (style, number)
    assert look(draw(found.prompt, found.style), subject) == []
