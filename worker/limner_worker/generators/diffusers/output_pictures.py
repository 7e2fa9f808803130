"""The picture in a pipeline's output, and what the pipeline's own safety checker says of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner_shared import metrics
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import ModerationBlocked, RequestUnsupported
from limner_worker.generators.base import Drawn, Picture

COLOUR_DIMENSIONS: Final = 3
COLOURS: Final = (1, 3, 4)
CHECKER: Final = "safety_checker"
"""The component of a pipeline that judges its pictures and blackens those that it flags."""
FLAGGED: Final = ("nsfw_content_detected", "nsfw_detected")
"""Where outputs say which pictures it flagged; they have None or nothing without a checker."""


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


def allowed_picture_of(output: Any) -> NDArray[np.float32]:
    """Return the first picture of a pipeline's output. Raises ModerationBlocked if the pipeline itself flags it, since
    it has then drawn a black one in its place.
    """
    if any(any(output.get(name) or ()) for name in FLAGGED):
        metrics.MODERATED.inc(what="picture", result="blocked")
        raise ModerationBlocked(
            "The model's own safety checker does not allow a picture of this job, so none was stored: change the "
            "request."
        )
    return picture_of(output)


@contextmanager
def unjudged(pipelines: Iterable[Any]) -> Iterator[None]:
    """A context without the pipelines' own safety checkers, which may flag what is drawn to check a pipeline."""
    judged: list[dict[str, Any]] = [vars(each) for each in pipelines if CHECKER in vars(each)]
    checkers = [own[CHECKER] for own in judged]
    for own in judged:  # setattr would also write it into the configuration
        own[CHECKER] = None
    try:
        yield
    finally:
        for own, checker in zip(judged, checkers, strict=True):
            own[CHECKER] = checker


def drawn(picture: NDArray[np.float32], spec: JobSpec) -> Drawn:
    """Return float [H, W, 3] in [0, 1] as a picture of uint8 that is still to be finished.

    Raises FloatingPointError if it is not finite, and RequestUnsupported if it has another size than was asked for.
    """
    height, width, _ = picture.shape
    if (width, height) != (spec.width, spec.height):
        raise RequestUnsupported(f"The model drew {width}×{height} pixels instead of {spec.width}×{spec.height}.")
    if not np.isfinite(picture).all():
        raise FloatingPointError("the picture is not finite")
    return partial(_to_bytes, picture)


def _to_bytes(picture: NDArray[np.float32]) -> Picture:
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
