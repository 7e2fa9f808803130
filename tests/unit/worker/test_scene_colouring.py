"""Recolouring keeps a thing's form: eyes stay visible in black, edges in white, holes stay holes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from limner_shared.domain.scenes import Colour
from limner_worker.generators.builtin.scenes.backdrop import backdrop
from limner_worker.generators.builtin.scenes.colouring import SHADES, named_colour, recoloured, to_oklab
from limner_worker.generators.builtin.scenes.cutouts import Cutout

SIDE = 96
DOWN, ACROSS = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
RADIUS = np.hypot(DOWN, ACROSS)
BODY = RADIUS < SIDE / 2 - 1
EYE = np.hypot(DOWN + 14, ACROSS - 12) < 5
INSIDE = (RADIUS < SIDE / 4) & ~EYE


def disc(body: tuple[float, float, float], eye: tuple[float, float, float] | None = None) -> Cutout:
    colour = np.empty((SIDE, SIDE, 3), np.float32)
    colour[:] = body
    if eye is not None:
        colour[EYE] = eye
    return Cutout(colour, BODY.astype(np.float32))


def lightness(thing: Cutout, where: NDArray[np.bool_]) -> float:
    return float(np.median(to_oklab(thing.colour)[where][:, 0]))


@pytest.mark.parametrize("body", [(0.9, 0.5, 0.2), (0.7, 0.7, 0.72), (0.25, 0.6, 0.2)])
def test_a_black_thing_is_black_with_light_eyes_and_a_light_edge(body: tuple[float, float, float]) -> None:
    black = recoloured(disc(body, eye=(0.08, 0.05, 0.05)), "black")
    assert lightness(black, INSIDE) < 0.2
    assert lightness(black, EYE) > 0.7
    lit = BODY & (RADIUS > SIDE / 2 - 6) & (DOWN < 0) & (ACROSS < 0)
    away = BODY & (RADIUS > SIDE / 2 - 6) & (DOWN > 0) & (ACROSS > 0)
    assert lightness(black, lit) > lightness(black, away) + 0.08


def test_a_pupil_within_a_white_eye_stays_dark_in_a_black_thing() -> None:
    thing = disc((0.9, 0.5, 0.2), eye=(1, 1, 1))
    pupil = np.hypot(DOWN + 14, ACROSS - 12) < 2
    thing.colour[pupil] = (0.05, 0.05, 0.05)
    assert lightness(recoloured(thing, "black"), pupil) < 0.4


def test_a_white_thing_has_a_contour_that_shows_on_white_paper() -> None:
    white = recoloured(disc((0.9, 0.5, 0.2), eye=(0.08, 0.05, 0.05)), "white")
    assert lightness(white, INSIDE) > 0.95
    assert lightness(white, BODY & (RADIUS > SIDE / 2 - 4)) < 0.9
    assert lightness(white, EYE) < 0.4


@pytest.mark.parametrize("colour", ["orange", "blue", "black"])
def test_white_holes_of_a_grey_thing_stay_white(colour: Colour) -> None:
    tinted = recoloured(disc((0.62, 0.68, 0.72), eye=(1, 1, 1)), colour)
    assert lightness(tinted, EYE) > 0.97
    assert lightness(tinted, INSIDE) < 0.8


def test_all_of_a_tinted_thing_takes_the_colour() -> None:
    thing = disc((0.75, 0.80, 0.80))
    left = INSIDE & (ACROSS < 0)
    thing.colour[left] = (0.62, 0.74, 0.76)
    orange = to_oklab(recoloured(thing, "orange").colour)[INSIDE]
    hue = np.degrees(np.arctan2(orange[:, 2], orange[:, 1]))
    assert (np.abs(hue - 58) < 12).mean() > 0.95


def test_a_shade_of_orange_does_not_become_brown() -> None:
    thing = disc((0.3, 0.5, 0.9))
    thing.colour[INSIDE] = (0.1, 0.2, 0.5)
    assert lightness(recoloured(thing, "orange"), INSIDE) > 0.62


@pytest.mark.parametrize(("name", "colour"), [("black cat", "black"), ("cat", None), ("blackboard", None)])
def test_a_name_may_begin_with_its_colour(name: str, colour: Colour | None) -> None:
    assert named_colour(name) == colour


@pytest.mark.parametrize("colour", sorted(SHADES))
def test_a_plain_backdrop_has_its_colour(colour: Colour) -> None:
    lab = to_oklab(backdrop(colour, 8, seed=0))
    assert np.ptp(lab, axis=(0, 1)).max() < 1e-6
    assert colour == "white" or abs(float(lab[0, 0, 0]) - SHADES[colour].lightness) < 0.06
