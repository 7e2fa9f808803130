"""What the pages offer as examples can be drawn: the evaluator sees in the picture what the example says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from limner_shared.domain.cards import Source
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.recognitions import Recognition
from limner_shared.settings import Settings
from limner_web import small_talk
from limner_web.pages import examples, model_pictures
from limner_web.pages.languages import LANGUAGES, read_catalog
from limner_worker.generators.base import ImageTask, Picture, pictures_of
from limner_worker.generators.builtin.conditioned import load_encoder
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.registry import load
from limner_worker.networks.weights import SHIPPED
from limner_worker.stages.interpretation import rules
from limner_worker.stages.interpretation.presenting.image_recognition import EvaluatorRecognizer
from limner_worker.stages.recognising import recognition_of

MEANT = [  # the subject, the style and the number that each message asks for
    *[(cars, "a red car", None, None) for cars, _ in examples.MESSAGES.values()],
    *[(cats, "a cat", "flat", 4) for _, cats in examples.MESSAGES.values()],
    (examples.FOREIGN["zh"], "red apple", None, None),
    (examples.FOREIGN["de"], "ghost", "3d", None),
    (examples.FOREIGN["en"], "ghost", "3d", None),
    (examples.FOREIGN["es"], "fox", None, None),
]


@pytest.fixture(scope="module")
def draw(catalogue: Catalogue):
    """Draws a prompt with the default model, as a worker does; returns what was drawn, and the picture."""
    card = catalogue.get(None)
    model = load(card, Settings(device="cpu"))

    def draw(prompt: str, style: str | None = None) -> tuple[ImageTask, Picture]:
        _, spec = catalogue.resolve(JobRequest(prompt=prompt, style=style, seed=1))
        states = model.start([ImageTask(spec, spec.seed)])
        for _ in range(spec.steps):
            model.step(states)
        return states[0].task, pictures_of(model.decode(states))[0]

    return draw


@pytest.fixture(scope="module")
def look() -> EvaluatorRecognizer:
    return EvaluatorRecognizer(SHIPPED / "limner-text")


def shows(look: EvaluatorRecognizer, drawn: tuple[ImageTask, Picture], subject: str) -> bool:
    """Whether a page would mark the picture of a task neither as hard to recognise, nor as another thing."""
    task, picture = drawn
    looks = look.look([picture, *task.things])
    told = recognition_of(look, task, picture, looks)
    return told == Recognition(recognised=True) and look.resembled(looks[0], subject) == []


@pytest.mark.parametrize("example", examples.PROMPTS["en"])
def test_the_picture_of_an_example_shows_it(draw: Any, look: EvaluatorRecognizer, example: Any):
    assert shows(look, draw(example), example)


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
    assert shows(look, draw(found.prompt, found.style), subject)


def test_every_page_offers_only_messages_that_are_proved():
    offered = {message for language in LANGUAGES for message in examples.messages(language)}
    assert offered <= {message for message, *_ in MEANT}


@pytest.mark.parametrize("said", small_talk.languages_known().values(), ids=small_talk.languages_known())
def test_the_examples_of_small_talk_are_read_as_things_that_the_model_knows(
    look: EvaluatorRecognizer, catalogue: Catalogue, said: Any
):
    card = catalogue.get(None)
    found = [rules.interpret(example, card.styles, (), card.sizes) for example in said.examples]
    assert [(each.style, each.n) for each in found] == [(None, None), ("flat", None), (None, None)]
    read = [look.read(catalogue.resolve(JobRequest(prompt=each.prompt, seed=1))[1], 6) for each in found]
    assert [name for name, _ in read] == [None, None, None]  # drawn by a name of its own
    assert (scene := read[1][1]) is not None
    assert scene.caption == "2 × cat"


@pytest.mark.parametrize("language", list(LANGUAGES)[1:])
def test_the_things_on_the_page_of_the_models_are_their_names_in_each_language(language: Any):
    names, catalog = KnownNames(SHIPPED / "limner-text"), read_catalog(language)
    things = [thing for thing, _ in model_pictures.THINGS]
    said = {thing: message.string for thing in things if (message := catalog.get(thing)) is not None}
    assert {thing: str(text).lower() for thing, text in said.items()} == {
        thing: names.translated(thing, language) for thing in things
    }


def test_the_scenes_on_the_page_of_the_models_are_read_alike_in_each_language(catalogue: Catalogue):
    encoder = load_encoder(catalogue.get(None), "cpu", Settings(device="cpu"))

    def read(text: str) -> str:
        _, spec = catalogue.resolve(JobRequest(prompt=text, seed=1))
        scene = encoder.scene(ImageTask(spec, spec.seed), most=6)
        assert scene is not None
        assert scene.left_out == ()
        return scene.caption

    for scene in model_pictures.SCENES:
        said = [str(found.string) for each in list(LANGUAGES)[1:] if (found := read_catalog(each).get(scene))]
        assert [read(text) for text in said] == [read(scene)] * 4


def test_a_built_in_model_has_a_picture_of_each_thing_and_style(catalogue: Catalogue):
    for name in ("limner-flow", "limner-gan"):
        card = catalogue.get(name)
        assert list(model_pictures.styles(card)) == list(card.styles)
        assert [each.prompt for each in model_pictures.samples(card)][:14] == [
            each for each, _ in model_pictures.THINGS
        ]


@pytest.mark.parametrize("change", [{"name": "mine"}, {"source": Source(folder=Path("mine"))}])
def test_an_operators_card_does_not_show_the_pictures_of_a_built_in_model(catalogue: Catalogue, change: dict[str, Any]):
    card = catalogue.get("limner-flow").model_copy(update=change)
    assert (model_pictures.styles(card), model_pictures.samples(card)) == ({}, [])
