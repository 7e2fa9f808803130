"""Pictures that are right for a task's prompt, made of true drawings: each judge's ceiling.

The arrangement is a plain one of its own (a row, a column, a grid with jitter, on a plain ground), and shares no code
with any generator.
"""

from __future__ import annotations

import io
import random
from collections.abc import Mapping
from typing import Final

import numpy as np
import resvg_py
from numpy.typing import NDArray
from PIL import Image

from limner_training.tasks.colours import LEAST_CHROMATIC, NEUTRAL, focal, from_lab, to_lab
from limner_training.tasks.prompts import TaskPrompt, Wanted

Pixels = NDArray[np.uint8]
Sources = Mapping[tuple[str, str], str | bytes]
"""SVG text or the bytes of a WebP file of each (concept, style)."""
SIDE: Final = 256
GROUNDS: Final = ((255, 255, 255), (255, 255, 255), (238, 244, 250), (250, 240, 224))
"""Grounds of the pictures: most are white, as in the drawings."""
HUE: Final = 0.7
"""Half the width in radians of the hues of one material."""
CHROMATIC: Final = 14.0
"""The chroma in CIELAB above which a pixel has a hue."""


def drawn(prompt: TaskPrompt, sources: Sources, choose: random.Random) -> Pixels:
    """Return a right picture for a prompt: uint8 [256, 256, 3]."""
    ground = (255, 255, 255) if prompt.task in {"seen", "held out"} else choose.choice(GROUNDS)
    canvas = Image.new("RGBA", (SIDE, SIDE), ground)
    style = prompt.style or choose.choice(_common_styles(prompt))
    wanted = prompt.wanted * prompt.number if prompt.number > 1 else prompt.wanted
    for each, (centre, side) in zip(wanted, places(len(wanted), prompt.relation, choose), strict=True):
        picture = Image.fromarray(_sprite(each, style, sources)).resize((side, side), Image.Resampling.LANCZOS)
        corner = (round(centre[0] * SIDE - side / 2), round(centre[1] * SIDE - side / 2))
        canvas.alpha_composite(picture, (max(0, corner[0]), max(0, corner[1])))
    return np.asarray(canvas.convert("RGB"))


def places(count: int, relation: str | None, choose: random.Random) -> list[tuple[tuple[float, float], int]]:
    """Return (centre across and down as shares, side in pixels) of each thing, without overlap."""
    if count == 1:
        return [((0.5, 0.5), 244)]
    near, far = 0.26 + choose.uniform(-0.01, 0.01), 0.74 + choose.uniform(-0.01, 0.01)
    if count > 2:  # a grid of two by two
        cells = [(near, near), (far, near), (near, far), (far, far)][:count]
        return [(cell, choose.randint(96, 112)) for cell in cells]
    relation = relation or choose.choice(("left", "above"))
    across = relation in {"left", "right"}
    drift = 0.5 + choose.uniform(-0.08, 0.08)
    ends = [(near, drift), (far, 0.5)] if across else [(drift, near), (0.5, far)]
    ordered = ends if relation in {"left", "above"} else ends[::-1]
    return [(end, choose.randint(96, 118)) for end in ordered]


def rgba(source: str | bytes, side: int = SIDE) -> Pixels:
    """Render SVG text or a WebP file: uint8 [side, side, 4]."""
    if isinstance(source, str):
        source = bytes(resvg_py.svg_to_bytes(svg_string=source, width=side, height=side))
    picture = Image.open(io.BytesIO(source)).convert("RGBA")
    return np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS))


def material(lab: NDArray[np.float64], solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which pixels [H, W] are of the dominant material: of the most frequent hue, or all without a hue."""
    chroma = np.hypot(lab[..., 1], lab[..., 2])
    hue = np.arctan2(lab[..., 2], lab[..., 1])
    vivid = solid & (chroma > CHROMATIC)
    grey = solid & ~vivid & (lab[..., 0] > 25) & (lab[..., 0] < 97)
    if vivid.sum() < LEAST_CHROMATIC * solid.sum():
        return grey
    counts, edges = np.histogram(hue[vivid], bins=48, range=(-np.pi, np.pi))
    smooth = sum(np.roll(counts, by) for by in range(-3, 4))
    peak = edges[int(np.argmax(smooth))] + np.pi / 48
    apart = np.abs(np.angle(np.exp(1j * (hue - peak))))
    return vivid & (apart < HUE)


def recoloured(picture: Pixels, colour: str) -> Pixels:
    """Return a drawing [H, W, 4] whose dominant material has another colour; its shading stays.

    Lightness moves towards that of the colour's focal point, and less far than its hue.
    """
    lab, solid = to_lab(picture[..., :3]), picture[..., 3] > 40
    chosen = material(lab, solid)
    if not chosen.any():
        return picture
    target, mean = focal(colour), lab[chosen].mean(0)
    neutral = colour in NEUTRAL or np.hypot(*mean[1:]) < CHROMATIC
    chroma = np.hypot(lab[..., 1], lab[..., 2]) / max(1.0, float(np.hypot(*mean[1:])))
    strength = np.ones_like(chroma) if neutral else chroma.clip(0.5, 1.3)
    new = lab.copy()
    new[..., 0] = (target[0] + 0.55 * (lab[..., 0] - mean[0])).clip(2, 98)
    new[..., 1:] = target[1:] * strength[..., None]
    result = picture.copy()
    result[chosen, :3] = from_lab(new)[chosen]
    return result


def material_share(picture: Pixels) -> float:
    """Return the share of a drawing [H, W, 4] that is of its dominant material."""
    solid = picture[..., 3] > 40
    return float(material(to_lab(picture[..., :3]), solid).sum() / max(1, solid.sum()))


def _sprite(wanted: Wanted, style: str, sources: Sources) -> Pixels:
    concept = wanted.noun.concept
    source = sources.get((concept, style)) or next(
        sources[concept, other] for other in (*wanted.noun.styles, *wanted.noun.held_out) if (concept, other) in sources
    )
    picture = rgba(source)
    return picture if wanted.colour is None else recoloured(picture, wanted.colour)


def _common_styles(prompt: TaskPrompt) -> list[str]:
    """Return the styles in which every thing of a prompt has a drawing that the evaluator knows; else the first's."""
    first, *others = (set(wanted.noun.styles) for wanted in prompt.wanted)
    common = first.intersection(*others)
    return sorted(common) or list(prompt.wanted[0].noun.styles)
