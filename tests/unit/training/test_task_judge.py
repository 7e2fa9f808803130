"""The judge of the evaluation's tasks finds things, colours, numbers and places in pictures whose truth is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from limner_training.tasks.colours import TERMS, colour_of, focal, from_lab, to_lab
from limner_training.tasks.judging import Ranker, TaskJudge, related
from limner_training.tasks.localising import CROP, background, crop, things_in
from limner_training.tasks.prompts import TaskPrompt, Wanted
from limner_training.tasks.vocabulary import Noun

Pixels = NDArray[np.uint8]
RED, BLUE, GREEN = (220, 20, 20), (10, 60, 220), (20, 170, 40)
SKY, GRASS, NIGHT = (150, 205, 240), (120, 190, 90), (20, 25, 70)


def noun(name: str) -> Noun:
    return Noun(name, name, ("flat",), (), (), recolourable=True, names={})


class ShapeRanker(Ranker):
    """Ranks "disc" first for crops whose shape fills less of its box than a square does, else "square"."""

    def __init__(self) -> None:
        pass

    def __call__(self, pictures: Pixels, names: Sequence[str]) -> NDArray[np.int64]:
        filled = (pictures.min(-1) < 250).mean((1, 2))
        found = np.where(filled < 0.8, "disc", "square")
        return np.array([[0 if name == shape else 9 for name in names] for shape in found])


JUDGE = TaskJudge(ShapeRanker())


def picture(
    *shapes: tuple[str, tuple[int, int], tuple[int, int, int]], ground: tuple[int, int, int] = (255, 255, 255)
) -> Pixels:
    """Draw shapes of 80 pixels around centres (across, down) in a picture of 256 pixels."""
    canvas = Image.new("RGB", (256, 256), ground)
    pen = ImageDraw.Draw(canvas)
    for shape, (across, down), colour in shapes:
        box = (across - 40, down - 40, across + 40, down + 40)
        (pen.ellipse if shape == "disc" else pen.rectangle)(box, fill=colour)
    return np.asarray(canvas)


def asked(task: str, *wanted: tuple[str, str | None], number: int = 1, relation: str | None = None) -> TaskPrompt:
    return TaskPrompt(task, "en", "", tuple(Wanted(noun(name), colour) for name, colour in wanted), number, relation)


def judged(shown: Pixels, prompt: TaskPrompt) -> bool:
    return JUDGE.verdict(shown, prompt).right


@pytest.mark.parametrize("ground", [(255, 255, 255), SKY, NIGHT, (128, 128, 128), (250, 240, 220)])
def test_separate_things_are_found_on_a_ground_of_any_colour(ground: tuple[int, int, int]) -> None:
    shown = picture(("disc", (60, 70), RED), ("square", (180, 190), GREEN), ground=ground)
    centres = sorted(thing.centre for thing in things_in(shown))
    assert np.allclose(centres, [(70 / 256, 60 / 256), (190 / 256, 180 / 256)], atol=0.02)


def test_sky_and_grass_are_both_background() -> None:
    shown = np.full((256, 256, 3), SKY, np.uint8)
    shown[150:] = GRASS
    shown[100:180, 60:140] = RED
    (thing,) = things_in(shown)
    assert thing.area == pytest.approx(80 * 80, rel=0.1)
    assert background(shown)[[10, 250], [10, 250]].all()


@pytest.mark.parametrize("turned", [False, True])
def test_a_shaded_sky_is_background(turned: bool) -> None:
    down = np.linspace(0, 1, 256)[:, None, None]
    shown = np.broadcast_to(down * SKY + (1 - down) * NIGHT, (256, 256, 3)).astype(np.uint8).copy()
    shown[40:120, 100:180] = RED
    (thing,) = things_in(shown.swapaxes(0, 1) if turned else shown)
    assert thing.area == pytest.approx(80 * 80, rel=0.1)


def test_a_thing_as_wide_as_a_white_picture_is_found() -> None:
    shown = np.full((256, 256, 3), 255, np.uint8)
    shown[100:150] = BLUE
    (thing,) = things_in(shown)
    assert thing.area == pytest.approx(50 * 256, rel=0.1)


def test_white_within_a_thing_belongs_to_it_and_small_specks_are_no_things() -> None:
    shown = picture(("square", (128, 128), BLUE)).copy()
    shown[110:140, 110:140] = 255
    shown[10:16, 10:16] = RED
    (thing,) = things_in(shown)
    assert thing.area == pytest.approx(81 * 81, rel=0.1)


def test_a_piece_within_the_box_of_a_thing_is_part_of_it() -> None:
    shown = np.full((256, 256, 3), 255, np.uint8)
    shown[60:200, 60:80] = shown[180:200, 60:200] = BLUE
    shown[80:120, 120:180] = RED
    assert len(things_in(shown)) == 1


def test_an_empty_picture_has_no_things_and_is_judged_wrong() -> None:
    empty = np.full((256, 256, 3), 255, np.uint8)
    assert things_in(empty) == []
    assert not judged(empty, asked("counting", ("disc", None)))
    assert not judged(empty, asked("two objects", ("disc", None), ("square", None)))


def test_pictures_of_64_pixels_are_judged_too() -> None:
    small = np.full((64, 64, 3), 255, np.uint8)
    small[8:24, 8:24] = small[40:56, 40:56] = RED
    assert len(things_in(small)) == 2


def test_a_crop_shows_one_thing_alone_on_white() -> None:
    shown = picture(("square", (70, 70), RED), ("disc", (180, 180), BLUE), ground=SKY)
    cut = crop(shown, things_in(shown)[0])
    assert cut.shape == (CROP, CROP, 3)
    assert (cut[0, 0] == 255).all()
    assert 0.8 < (np.abs(cut.astype(int) - RED).max(-1) < 30).mean() <= 1


@pytest.mark.parametrize("term", TERMS)
def test_each_basic_colour_is_named(term: str) -> None:
    assert colour_of(np.tile(from_lab(focal(term)), (50, 1))) == term


@pytest.mark.parametrize(
    ("rgb", "term"),
    [
        ((178, 34, 34), "red"),
        ((135, 206, 235), "blue"),
        ((255, 192, 203), "pink"),
        ((107, 142, 35), "green"),
        ((139, 69, 19), "brown"),
        ((255, 215, 0), "yellow"),
        ((128, 0, 128), "purple"),
        ((211, 211, 211), "grey"),
    ],
)
def test_shades_get_the_name_that_people_give_them(rgb: tuple[int, int, int], term: str) -> None:
    assert colour_of(np.tile(np.array(rgb, np.uint8), (9, 1))) == term


def test_outlines_and_highlights_do_not_hide_the_colour_of_a_thing() -> None:
    pixels = np.concatenate([np.full((60, 3), 20), np.tile(BLUE, (35, 1)), np.tile(RED, (5, 1))]).astype(np.uint8)
    assert colour_of(pixels) == "blue"


def test_conversions_to_lab_and_back_agree() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 3)).astype(np.uint8)
    assert np.abs(from_lab(to_lab(pixels)).astype(int) - pixels).max() <= 1
    assert np.allclose(to_lab(np.array([[255, 255, 255], [0, 0, 0]], np.uint8)), [[100, 0, 0], [0, 0, 0]], atol=0.02)


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_number_is_right_only_if_all_things_are_there_and_known(number: int) -> None:
    places = [(60, 60), (190, 60), (60, 190), (190, 190)]
    for drawn in range(1, 5):
        shown = picture(*(("disc", place, RED) for place in places[:drawn]))
        assert judged(shown, asked("counting", ("disc", None), number=number)) == (drawn == number)
    others = picture(*(("square", place, RED) for place in places[:number]))
    assert not judged(others, asked("counting", ("disc", None), number=number))


def test_the_colour_of_the_thing_is_judged_and_not_that_of_the_ground() -> None:
    shown = picture(("disc", (128, 128), RED), ground=SKY)
    assert judged(shown, asked("colour", ("disc", "red")))
    assert not judged(shown, asked("colour", ("disc", "blue")))
    assert not judged(shown, asked("colour", ("square", "red")))


def test_two_objects_need_two_things() -> None:
    prompt = asked("two objects", ("disc", None), ("square", None))
    assert judged(picture(("disc", (60, 128), RED), ("square", (190, 128), RED)), prompt)
    assert not judged(picture(("disc", (60, 128), RED), ("disc", (190, 128), BLUE)), prompt)
    assert not judged(picture(("disc", (128, 128), RED)), prompt)


def test_colours_are_judged_by_the_thing_that_they_were_said_of() -> None:
    prompt = asked("colour attribution", ("disc", "red"), ("square", "blue"))
    assert judged(picture(("disc", (60, 128), RED), ("square", (190, 128), BLUE)), prompt)
    swapped = picture(("disc", (60, 128), BLUE), ("square", (190, 128), RED))
    verdict = JUDGE.verdict(swapped, prompt)
    assert verdict.recognised
    assert not verdict.right


@pytest.mark.parametrize("relation", ["left", "right", "above", "below"])
def test_a_position_is_that_of_the_first_thing_relative_to_the_second(relation: str) -> None:
    prompt = asked("position", ("disc", None), ("square", None), relation=relation)
    places = {"left": (60, 128), "right": (196, 128), "above": (128, 60), "below": (128, 196)}
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}
    for there, place in places.items():
        shown = picture(("disc", place, RED), ("square", places[opposite[there]], BLUE))
        assert judged(shown, prompt) == (there == relation)


def test_a_diagonal_offset_counts_by_its_larger_part() -> None:
    assert related("left", [(0.4, 0.2), (0.6, 0.8)])
    assert not related("above", [(0.4, 0.2), (0.6, 0.8)])
    assert related(None, [])
