"""No model at all: a plain picture whose colour is made from the seed. It shows what everything around a model costs
and keeps; benchmarks and fault tests run it with everything else real.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limner_shared.cards import ModelCard
from limner_shared.jobs import JobSpec
from limner_worker.generators.base import Picture, bucket_for


@dataclass(slots=True)
class NullState:
    """One image on its way."""

    spec: JobSpec
    seed: int
    steps_done: int = 0


class Null:
    """A generator whose every step takes `step_ms` milliseconds (the card's `options`), however many rows share it."""

    def __init__(self, card: ModelCard) -> None:
        self.card = card
        self._seconds = float(card.options.get("step_ms", 0)) / 1000

    def batch_key(self, spec: JobSpec) -> Hashable:
        """Every size is alike."""
        return ()

    def start(self, specs: Sequence[tuple[JobSpec, int]]) -> list[NullState]:
        """Nothing to prepare."""
        return [NullState(spec, seed) for spec, seed in specs]

    def step(self, states: Sequence[NullState]) -> int:
        """Let the time pass."""
        if self._seconds:
            time.sleep(self._seconds)
        for state in states:
            state.steps_done += 1
        return bucket_for(len(states), self.card.buckets)

    def decode(self, states: Sequence[NullState]) -> list[Picture]:
        """uint8 [height, width, 3] of one colour."""
        return [self._picture(state) for state in states]

    def fingerprint(self) -> dict[str, Any]:
        """There is nothing to tell."""
        return {"model": self.card.name}

    def _picture(self, state: NullState) -> Picture:
        colour = np.array([state.seed & 255, state.seed >> 8 & 255, state.seed >> 16 & 255], np.uint8)
        return np.broadcast_to(colour, (state.spec.height, state.spec.width, 3))
