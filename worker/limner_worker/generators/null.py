"""No model at all: a plain picture whose colour is made from the seed. It shows what everything around a model costs
and keeps; benchmarks and fault tests run it with everything else real.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limner_shared.domain.cards import ModelCard
from limner_worker.generators.base import Decoded, ImageTask, Picture, padding


@dataclass(eq=False, slots=True)
class NullState:
    """One image on its way."""

    task: ImageTask
    steps_done: int = 0
    error: Exception | None = None

    @property
    def key(self) -> Hashable:
        """Every size is alike."""
        return self.task.alone

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.steps_done >= self.task.spec.steps

    def checkpoint(self) -> bytes | None:
        """A picture that costs nothing is not worth keeping half made."""
        return None

    def close(self) -> None:
        """Its tensors go with it."""


class Null:
    """A generator whose every step takes `step_ms` milliseconds (the card's `options`), however many rows share it."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self._seconds = float(card.options.get("step_ms", 0)) / 1000

    @property
    def nbytes(self) -> int:
        """There are no weights."""
        return 0

    def start(self, tasks: Sequence[ImageTask]) -> list[NullState]:
        """Nothing to prepare."""
        return [NullState(task) for task in tasks]

    def step(self, states: Sequence[NullState]) -> None:
        """Let the time pass."""
        with padding([state.task for state in states], self.card.buckets):
            if self._seconds:
                time.sleep(self._seconds)
            for state in states:
                state.steps_done += 1

    def decode(self, states: Sequence[NullState]) -> Decoded:
        """uint8 [height, width, 3] of one colour."""
        with padding([state.task for state in states], self.card.buckets):
            return Decoded([_picture(state.task) for state in states])

    def preview(self, state: NullState) -> Picture | None:
        """It looks the same from the beginning."""
        return _picture(state.task)

    def fingerprint(self) -> dict[str, Any]:
        """There is nothing to tell."""
        return {"model": self.card.name}


def _picture(task: ImageTask) -> Picture:
    colour = np.array([task.seed & 255, task.seed >> 8 & 255, task.seed >> 16 & 255], np.uint8)
    return np.broadcast_to(colour, (task.spec.height, task.spec.width, 3))
