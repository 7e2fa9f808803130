"""The picture in a pipeline's output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import RequestUnsupported
from limner_worker.generators.base import Picture

COLOUR_DIMENSIONS: Final = 3
COLOURS: Final = (1, 3, 4)


def picture_of(output: Any) -> NDArray[np.float32]:
    """Return the first picture of a pipeline's output, under any name. Raises TypeError if it is not a picture."""
    pictures = next(iter(output.values()))
    picture: Any = cast("Sequence[Any]", pictures)[0] if isinstance(pictures, (list, np.ndarray)) else None
    if isinstance(picture, Image.Image):
        picture = np.asarray(picture, np.float32) / 255
    shape: tuple[int, ...] = getattr(picture, "shape", ())
    if not isinstance(picture, np.ndarray) or len(shape) != COLOUR_DIMENSIONS or shape[-1] not in COLOURS:
        raise TypeError(f"{type(output).__name__} has no picture of height, width and colours")
    return cast("NDArray[np.float32]", picture)


def to_picture(picture: NDArray[np.float32], spec: JobSpec) -> Picture:
    """Return float [H, W, 3] in [0, 1] as uint8.

    Raises FloatingPointError if it is not finite, and RequestUnsupported if it has another size than was asked for.
    """
    height, width, _ = picture.shape
    if (width, height) != (spec.width, spec.height):
        raise RequestUnsupported(f"The model drew {width}×{height} pixels instead of {spec.width}×{spec.height}.")
    if not np.isfinite(picture).all():
        raise FloatingPointError("the picture is not finite")
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
