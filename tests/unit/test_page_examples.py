"""What the pages offer as examples can be drawn: the evaluator sees in the picture what the example says."""

from __future__ import annotations

from typing import Any

import pytest

from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.settings import Settings
from limner_web.pages import examples
from limner_web.pages.languages import LANGUAGES
from limner_worker.generators.base import ImageTask, Picture
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.registry import load
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation import rules
from limner_worker.stages.interpretation.image_recognition import EvaluatorRecognizer

MEANT = [  # the subject, the style and the number that each message asks for
    *[(cars, "a red car", None, None) for cars, _ in examples.MESSAGES.values()],
    *[(cats, "a cat", "flat", 4) for _, cats in examples.MESSAGES.values()],
    (examples.FOREIGN["zh"], "red apple", None, None),
    (examples.FOREIGN["de"], "ghost", "3d", None),
    (examples.FOREIGN["en"], "ghost", "3d", None),
    ("🦊", "fox", None, None),
]


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


@pytest.mark.parametrize("example", examples.PROMPTS["en"])
def test_the_picture_of_an_example_shows_it(draw: Any, look: EvaluatorRecognizer, example: Any):
    assert look(draw(example), example) == []


@pytest.mark.parametrize("language", list(LANGUAGES)[1:])
def test_the_examples_of_a_language_are_the_models_own_names_for_the_same_things(language: Any):
    names = KnownNames(SHIPPED / "limner-text")
    meant = [names.translated(each, language) for each in examples.PROMPTS["en"]]
    assert [each.lower() for each in examples.PROMPTS[language]] == meant


@pytest.mark.parametrize(("message", "subject", "style", "number"), MEANT)
def test_the_picture_of_an_example_message_shows_what_it_asks_for(
    draw: Any, look: EvaluatorRecognizer, catalogue: Catalogue, message: Any, subject: Any, style: Any, number: Any
):
    card = catalogue.get(None)
    found = rules.interpret(message, card.styles, (), card.sizes)
    assert (found.style, found.n) == (style, number)
    assert look(draw(found.prompt, found.style), subject) == []


def test_every_page_offers_only_messages_that_are_proved():
    offered = {message for language in LANGUAGES for message in examples.messages(language)}
    assert offered <= {message for message, *_ in MEANT}
