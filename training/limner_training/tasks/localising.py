"""Where the things in a picture are: its background, its separate things, and a crop of each.

A picture's background is what has one of the colours of its border and is connected to the border, so things may stand
on plain grounds of any colour, on two of them (sky and grass) or on shaded ones. How a picture was made plays no role.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from limner_training.tasks.colours import to_lab

Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
TOLERANCE: Final = 7.0
"""The distance in CIELAB up to which a pixel has the colour of the background."""
GROUNDS: Final = 3
"""The most colours of a background."""
LEAST_GROUND: Final = 0.15
"""The least share of the border that has a colour of the background."""
PLAIN: Final = 0.85
"""The share of the border from which its most frequent colours are all of the background."""
LEAST_AREA: Final = 0.004
"""The least share of the picture that a thing covers."""
LEAST_RELATIVE: Final = 0.12
"""The least area of a thing relative to the largest one; smaller pieces are sparkles, drops or shadows."""
LEAST_PIXELS: Final = 4
WORKING: Final = 128
"""About the height at which things are found."""
CROP: Final = 64
FILL: Final = 0.94
"""The share of a crop's side that a thing fills: about that of the drawings that the evaluator knows."""
_TOUCHING: Final = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Thing:
    """One separate thing: its pixels in the picture, and the centre of its box as shares of height and width."""

    mask: Mask  # [H, W]
    box: tuple[slice, slice]

    @property
    def centre(self) -> tuple[float, float]:
        """The centroid as (down, across), each between 0 and 1."""
        down, across = np.nonzero(self.mask)
        return float(down.mean() / self.mask.shape[0]), float(across.mean() / self.mask.shape[1])

    @property
    def area(self) -> int:
        """The number of its pixels."""
        return int(self.mask.sum())


def things_in(picture: Pixels) -> list[Thing]:
    """Return the separate things in a picture [H, W, 3], the largest first."""
    by = max(1, len(picture) // WORKING)
    ground = background(_smaller(picture, by))
    labels = _regions(~ground, _TOUCHING)
    areas = np.bincount(labels.reshape(-1))
    areas[0] = 0  # the ground
    boxes = ndimage.find_objects(labels)
    largest_first = (int(label) for label in np.argsort(-areas, kind="stable") if areas[label] >= LEAST_PIXELS)
    found = [Thing(labels == label, (boxes[label - 1][0], boxes[label - 1][1])) for label in largest_first]
    joined = _joined(found)
    least = max(LEAST_AREA * ground.size, LEAST_RELATIVE * joined[0].area) if joined else 0
    return [_larger(thing, by) for thing in joined if thing.area >= least]


def background(picture: Pixels) -> Mask:
    """Return which pixels of a picture [H, W, 3] are its background: bool [H, W]."""
    lab = to_lab(picture)
    near = np.zeros(picture.shape[:2], bool)
    for colour in _grounds(_border(lab)):
        near |= np.linalg.norm(lab - colour, axis=-1) < TOLERANCE
    if _border(near[..., None]).mean() < PLAIN:
        near |= _shaded(lab) | _shaded(lab.swapaxes(0, 1)).T
    labels = _regions(near)
    outside = np.setdiff1d(_border(labels[..., None]), [0])
    return np.isin(labels, outside)


def crop(picture: Pixels, thing: Thing) -> Pixels:
    """Return a thing alone on white, as large as the evaluator knows things: uint8 [64, 64, 3]."""
    alone = np.where(ndimage.binary_dilation(thing.mask, _TOUCHING)[..., None], picture, 255).astype(np.uint8)
    down, across = thing.box
    side = max(down.stop - down.start, across.stop - across.start) / FILL
    top, left = (down.start + down.stop - side) / 2, (across.start + across.stop - side) / 2
    pad = len(alone) // 2
    padded = Image.fromarray(np.pad(alone, ((pad, pad), (pad, pad), (0, 0)), constant_values=255))
    box = (left + pad, top + pad, left + pad + side, top + pad + side)
    method = Image.Resampling.BOX if side > CROP else Image.Resampling.BICUBIC
    return np.asarray(padded.resize((CROP, CROP), method, box))


def _regions(mask: Mask, structure: Mask | None = None) -> NDArray[np.int32]:
    """Number the connected regions of a mask from 1; 0 is outside of it."""
    label: Any = ndimage.label  # typed as if `output` were None
    return label(mask, structure, output=np.int32)[0]


def _smaller(picture: Pixels, by: int) -> Pixels:
    """Return a picture whose pixels are the means of `by` x `by` pixels."""
    height, width = len(picture) // by, picture.shape[1] // by
    blocks = picture[: height * by, : width * by].reshape(height, by, width, by, 3)
    return np.rint(blocks.mean((1, 3))).astype(np.uint8)


def _larger(thing: Thing, by: int) -> Thing:
    down, across = (slice(side.start * by, side.stop * by) for side in thing.box)
    return Thing(thing.mask.repeat(by, 0).repeat(by, 1), (down, across))


def _joined(things: list[Thing]) -> list[Thing]:
    """Join pieces that lie within the box of a larger thing to it, such as steam above a cup."""
    kept: list[Thing] = []
    for piece in things:
        for place, larger in enumerate(kept):
            if _within(piece.box, larger.box):
                kept[place] = Thing(larger.mask | piece.mask, larger.box)
                break
        else:
            kept.append(piece)
    return kept


def _within(inner: tuple[slice, slice], outer: tuple[slice, slice]) -> bool:
    """Return whether most of a box lies in another one."""
    shared, total = 1, 1
    for own, other in zip(inner, outer, strict=True):
        shared *= max(0, min(own.stop, other.stop) - max(own.start, other.start))
        total *= own.stop - own.start
    return shared > total / 2


def _shaded(lab: NDArray[np.float64]) -> Mask:
    """Return which pixels have the colour that their row has at both ends, as in a sky that is darker at the top."""
    wide = max(1, len(lab) // 64)
    left, right = lab[:, :wide].mean(1), lab[:, -wide:].mean(1)
    alike = np.linalg.norm(left - right, axis=-1) < TOLERANCE
    return alike[:, None] & (np.linalg.norm(lab - (left + right)[:, None] / 2, axis=-1) < TOLERANCE)


def _border(values: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return the outermost pixels of [H, W, C] as [N, C]."""
    wide = max(1, len(values) // 64)
    inner = values[wide:-wide]
    edges = (values[:wide], values[-wide:], inner[:, :wide], inner[:, -wide:])
    return np.concatenate([edge.reshape(-1, values.shape[-1]) for edge in edges])


def _grounds(border: NDArray[np.generic]) -> list[NDArray[np.float64]]:
    """Return the most frequent colours of a border [N, 3] in CIELAB, at least one."""
    left = border.astype(np.float64)
    found: list[NDArray[np.float64]] = []
    while len(found) < GROUNDS and len(left) >= (LEAST_GROUND * len(border) if found else 1):
        cells, which, counts = np.unique(np.rint(left / TOLERANCE), axis=0, return_inverse=True, return_counts=True)
        del cells
        colour = np.median(left[which.reshape(-1) == counts.argmax()], axis=0)
        near = np.linalg.norm(left - colour, axis=1) < TOLERANCE
        if found and near.sum() < LEAST_GROUND * len(border):
            break
        found.append(colour)
        left = left[~near]
    return found
