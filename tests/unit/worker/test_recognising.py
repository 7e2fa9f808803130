"""What the evaluator sees in finished pictures is recorded with them, and said in their alt texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.evaluators import Blind, Judging

from limner_shared.db.ledger import Claim, NewImage, Result
from limner_shared.domain.embeddings import Embedding
from limner_shared.domain.jobs import JobSpec, Lane
from limner_shared.domain.recognitions import Recognition
from limner_shared.domain.scenes import Scene, SceneObject
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.recognising import Look, PictureEvaluator, PictureReview

LIGHT, GREY, DARK = 255, 150, 0
CAT = SceneObject(said="Katze", name="cat", colour="blue")
DOGS = SceneObject(said="Hunde", name="dog", count=2)


def picture(shade: int) -> np.ndarray:
    return np.full((64, 64, 3), shade, np.uint8)


def drawn(*shades: int, prompt: str = "a cat", things: Sequence[int] = (), **shown: Any) -> JobRun:
    """A run whose pictures have these shades; `shown` is what they show, as fields of their tasks, and their style."""
    size: dict[str, Any] = {"width": 64, "height": 64, "n": len(shades)}
    spec = JobSpec(model="m", prompt=prompt, seed=1, steps=1, guidance=1.0, style=shown.get("style"), **size)
    run = JobRun(Claim("job-1", "local", None, 1, 2, Lane.NORMAL, spec), lambda: None)
    for row, shade in zip(run.rows, shades, strict=True):
        row.picture = picture(shade)
        row.task.things = [picture(each) for each in things]
        row.task.drawn_as, row.task.scene = shown.get("drawn_as"), shown.get("scene")
    return run


def reviewed(run: JobRun, evaluator: PictureEvaluator) -> list[NewImage]:
    image = NewImage("0" * 64, "image/png", 64, 64, 1, 1, {"seed": 1}, alt_text="a cat (flat)")
    [result] = PictureReview({"m": evaluator}).add([(run, Result(run.id, 1, [image] * len(run.rows)))])
    return list(result.images)


def seen(run: JobRun, evaluator: PictureEvaluator) -> Recognition | None:
    [image] = reviewed(run, evaluator)
    return Recognition.read(image.receipt.get("recognition"))


def test_each_picture_of_a_plain_prompt_is_looked_at():
    right, wrong = reviewed(drawn(LIGHT, DARK), Judging())
    assert right.receipt == {"seed": 1, "recognition": {"recognised": True}}
    assert right.alt_text == "a cat (flat)"
    assert Recognition.read(wrong.receipt["recognition"]) == Recognition(
        recognised=False, unclear=("a cat",), looks_like=("dog",), nearer=("lion", "tiger")
    )
    assert wrong.alt_text == "a cat (flat). “a cat” may be hard to recognise."


def test_what_stands_for_the_prompt_is_named_in_the_language_of_the_words():
    [image] = reviewed(drawn(DARK, drawn_as="lion"), Judging("de"))
    assert image.receipt["recognition"] == {
        "recognised": False,
        "unclear": ["lion in de"],
        "looks_like": ["dog in de"],
        "nearer": ["lion in de", "tiger in de"],
    }
    assert image.alt_text == "a cat (flat). „lion in de“ ist vielleicht schwer zu erkennen."


def test_the_evaluator_says_nothing_of_a_prompt_that_it_has_no_word_for():
    evaluator = Judging()
    assert seen(drawn(DARK, prompt="unknown"), evaluator) is None
    assert evaluator.asked == []
    assert seen(drawn(DARK, prompt="unknown", drawn_as="cat"), evaluator) is not None


def test_each_thing_of_a_scene_is_looked_at_alone_and_a_recoloured_one_in_other_hues_if_need_be():
    scene, evaluator = Scene(objects=(CAT, DOGS)), Judging("de")
    told = seen(drawn(DARK, scene=scene, things=(GREY, LIGHT, DARK)), evaluator)
    assert told == Recognition(recognised=False, unclear=("Hunde",))
    assert evaluator.asked == ["cat", "cat in any colour", "dog", "dog"]
    assert seen(drawn(DARK, scene=scene, things=(LIGHT, LIGHT, LIGHT)), Judging()) == Recognition(recognised=True)


def test_a_scene_of_one_thing_as_it_is_is_looked_at_as_a_whole():
    told = seen(drawn(DARK, scene=Scene(objects=(SceneObject(said="Katze", name="cat"),))), Judging())
    assert told is not None
    assert (told.unclear, told.looks_like) == (("Katze",), ("dog",))


def test_only_a_picture_of_one_thing_is_compared_in_its_style():
    """The drawings are whole pictures: a thing of a scene has another size."""
    evaluator = Judging()
    seen(drawn(LIGHT, style="flat"), evaluator)
    seen(drawn(LIGHT, style="flat", scene=Scene(objects=(DOGS,)), things=(LIGHT, LIGHT)), evaluator)
    assert evaluator.styles == ["flat", None, None]


def test_nothing_is_said_of_a_scene_whose_things_an_earlier_release_did_not_keep():
    assert seen(drawn(DARK, scene=Scene(objects=(CAT, DOGS))), Judging()) is None


def test_a_prompt_that_shows_more_is_offered_where_something_is_left_out():
    asked = "a cat chasing a dog"
    assert seen(drawn(LIGHT, prompt=asked, drawn_as="cat"), Judging()) == Recognition(
        recognised=True, nearer=("a cat, a dog",)
    )
    told = seen(drawn(DARK, prompt=asked, drawn_as="cat"), Judging())
    assert told is not None
    assert told.nearer == ("a cat, a dog", "lion", "tiger")
    scene = Scene(objects=(DOGS,), left_out=("cat chasing",))
    left_out = seen(drawn(DARK, prompt=asked, scene=scene, things=(LIGHT, LIGHT)), Judging())
    assert left_out == Recognition(recognised=True, nearer=("a cat, a dog",))
    whole = seen(drawn(DARK, prompt=asked, scene=Scene(objects=(DOGS,)), things=(LIGHT, LIGHT)), Judging())
    assert whole == Recognition(recognised=True)


def test_no_other_prompt_is_looked_for_in_a_bulk():
    run = drawn(LIGHT, prompt="a cat chasing a dog", drawn_as="cat")
    run.claim = replace(run.claim, bulk_id="bulk-1")
    assert seen(run, Judging()) == Recognition(recognised=True)


class Confused(Judging):
    """An evaluator that fails to recognise anything."""

    def recognises(self, look: Look, name: str, style: str | None = None) -> bool:
        raise RuntimeError("no memory")


@pytest.mark.parametrize("evaluator", [Confused(), Blind()])
def test_a_picture_that_cannot_be_recognised_still_has_its_embedding(evaluator: PictureEvaluator):
    [image] = reviewed(drawn(DARK), evaluator)
    assert image.embedding == Embedding("tower:1", b"")
    assert image.receipt == {"seed": 1}
