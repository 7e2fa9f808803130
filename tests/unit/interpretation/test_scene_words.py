"""What is said of a picture of a scene: all that it does not show, and nothing else."""

from __future__ import annotations

import pytest

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.scenes import Scene, SceneObject
from limner_worker.stages.interpretation.language.files import LANGUAGES
from limner_worker.stages.interpretation.presenting import presentation
from limner_worker.stages.interpretation.presenting.presenter import Presenter
from limner_worker.stages.interpretation.rules import interpret

CAT = SceneObject(said="cat", name="cat", colour="blue")
LORRY = SceneObject(said="lorry", name="delivery truck", exact=False, count=2)


def described(catalogue: Catalogue, text: str) -> JobSpec:
    spec = catalogue.resolve(JobRequest(description=text, seed=1))[1]
    return spec.model_copy(update={"prompt": text})


def test_a_scene_that_shows_all_is_presented_as_asked_without_an_evaluator(catalogue: Catalogue) -> None:
    present = Presenter()
    told = present(described(catalogue, "a blue cat"), None, Scene(objects=(CAT,)))
    assert told == "Here is your picture: a blue cat, in the noto style."
    assert presentation.alt_text(described(catalogue, "a blue cat"), 3, None, Scene(objects=(CAT,))).startswith(
        "a blue"
    )


def test_what_a_scene_does_not_show_is_said(catalogue: Catalogue) -> None:
    spec = described(catalogue, "a fluffy blue cat and two lorries")
    scene = Scene(objects=(CAT, LORRY), left_out=("fluffy",))
    told = presentation.by_rules(spec, presentation.Shown(scene=scene))
    assert "“fluffy”" in told
    assert "For “lorry” it shows “delivery truck”." in told
    assert presentation.alt_text(spec, 3, None, scene).startswith("blue cat, 2 × delivery truck")


def test_the_alternative_text_of_a_scene_is_in_the_language_of_the_words(catalogue: Catalogue) -> None:
    spec = described(catalogue, "eine flauschige blaue Katze und zwei Lastwagen")
    scene, german = (
        Scene(objects=(CAT, LORRY), left_out=("flauschige",)),
        {"cat": "Katze", "delivery truck": "Lieferwagen"},
    )
    told = presentation.alt_text(spec, 3, None, scene, "de", lambda name, _: german[name])
    assert told.startswith("Katze (blau), 2 × Lieferwagen (")
    assert presentation.alt_text(spec, 3, "cat", None, "de", lambda name, _: german[name]).startswith("Katze (")


@pytest.mark.parametrize("language", LANGUAGES, ids=lambda each: each.code)
def test_every_language_says_what_is_missing(language: object) -> None:
    phrases = next(each.phrases for each in LANGUAGES if each is language)
    assert "X1" in phrases.left_out.format(words="X1")
    assert "X1" in phrases.unclear.format(words="X1")
    assert all(each in phrases.unclear_in.format(words="X1", count=3, n=4) for each in ("X1", "3", "4"))
    assert "X1" in phrases.nearer.format(prompt="X1")
    assert {"X1", "X2"} <= set(phrases.stands_for.replace("{asked}", " X1 ").replace("{name}", " X2 ").split())


@pytest.mark.parametrize(
    ("text", "prompt", "n"),
    [
        ("draw two cats", "two cats", None),
        ("two apples", "two apples", None),
        ("drei Katzen", "drei Katzen", None),
        ("two pictures of an octopus", "an octopus", 2),
    ],
)
def test_a_number_of_things_is_not_a_number_of_pictures(text: str, prompt: str, n: int | None) -> None:
    conditions = interpret(text, ())
    assert (conditions.prompt, conditions.n) == (prompt, n)
