"""A generator without a model: a picture of one colour, taken from the seed.

Benchmarks and fault tests use it to measure and to test everything around a model, with everything else real.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from limner_shared.domain.cards import ModelCard
from limner_worker.generators.base import Decoded, ImageTask, Picture, padding


@dataclass(eq=False, slots=True)
class NullState:
    """The state of one image."""

    task: ImageTask
    steps_done: int = 0
    error: Exception | None = None

    @property
    def key(self) -> Hashable:
        """All images may share a batch."""
        return self.task.alone

    @property
    def rows(self) -> int:
        """Each image is one row."""
        return 1

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.steps_done >= self.task.spec.steps

    def checkpoint(self) -> bytes | None:
        """Always None: the picture costs nothing to generate again."""
        return None

    def close(self) -> None:
        """Do nothing: there are no resources to release."""


class Null:
    """A generator whose steps take `step_ms` milliseconds (from the card's `options`) for any number of rows."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self._seconds = float(card.options.get("step_ms", 0)) / 1000

    @property
    def nbytes(self) -> int:
        """Always 0: there are no weights."""
        return 0

    def start(self, tasks: Sequence[ImageTask]) -> list[NullState]:
        """Return the first state of each task."""
        return [NullState(task) for task in tasks]

    def step(self, states: Sequence[NullState]) -> None:
        """Sleep for `step_ms` and count the step."""
        with padding([state.task for state in states], self.card.buckets):
            if self._seconds:
                time.sleep(self._seconds)
            for state in states:
                state.steps_done += 1

    def decode(self, states: Sequence[NullState]) -> Decoded:
        """Return pictures of one colour each, as uint8 [height, width, 3]."""
        with padding([state.task for state in states], self.card.buckets):
            return Decoded([partial(_picture, state.task) for state in states])

    def preview(self, state: NullState) -> Picture | None:
        """Return the final picture."""
        return _picture(state.task)

    def fingerprint(self) -> dict[str, Any]:
        """Return the card's name only."""
        return {"model": self.card.name}


def _picture(task: ImageTask) -> Picture:
    colour = np.array([task.seed & 255, task.seed >> 8 & 255, task.seed >> 16 & 255], np.uint8)
    return np.broadcast_to(colour, (task.spec.height, task.spec.width, 3))
