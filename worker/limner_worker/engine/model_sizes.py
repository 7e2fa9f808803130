"""The batch sizes of each model's calls: the buckets of its card, within the limits that `batch_sizing` finds. And for
how long a model keeps its adapters, by the measured time of its calls.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

from limner_worker.engine.batch_sizing import BatchSizer
from limner_worker.engine.job_run import Row
from limner_worker.engine.scheduler import Scheduler, Setups, total_width
from limner_worker.generators.base import padded_size
from limner_worker.generators.model_cache import ModelCache

KEPT_SECONDS: Final = 0.5
"""For how long a model keeps its adapters while rows with others wait. A change takes some 50 ms at SDXL's size."""
KEPT_TURNS: Final = 8
"""The most calls for which it does."""


class ModelSizes:
    """For the engine's thread. All rows of a call are of one model, which is loaded."""

    def __init__(self, models: ModelCache) -> None:
        self._models = models
        self._sizer = BatchSizer()

    def scheduler(self) -> Scheduler[Row]:
        """Return a scheduler that follows these sizes and times."""
        return Scheduler(self.allowed, Setups(self.setup, self.turns), self.first_batch)

    def allowed(self, key: Any) -> Sequence[int]:
        """Return the sizes that a call for rows of this key may be padded to."""
        model, *_ = key
        return self._sizer.allowed_sizes(key, self._models.cards[model].buckets)

    def first_batch(self, rows: Sequence[Row]) -> int:
        """Return how many places of a batch these rows of one key, which fill no size, take in the next step."""
        if any(row.task.spec.reproducible for row in rows):  # they are padded to the largest size anyway
            return total_width(rows)
        return self._sizer.first_batch(rows[0].key, total_width(rows), self._buckets(rows))

    def setup(self, key: Any) -> tuple[Hashable, Hashable]:
        """Return the model of a key, and the adapters that it must be set to."""
        model, adapters, *_ = key
        return model, adapters

    def turns(self, key: Any) -> int:
        """Return for how many calls a model may keep the adapters of this key while rows with others wait."""
        taken = self._sizer.seconds(key)
        return 1 if taken is None else max(1, min(KEPT_TURNS, int(KEPT_SECONDS / taken)))

    def record_duration(self, rows: Sequence[Row], seconds: float) -> None:
        """Record a call that succeeded. A replay dictates its sizes, so it says nothing about others."""
        if rows[0].task.replay is None:
            self._sizer.record_success(rows[0].key, self._padded(rows), seconds, self._buckets(rows))

    def record_out_of_memory(self, rows: Sequence[Row]) -> None:
        """Record a call that ran out of memory. The start of rows has no key, and no limit."""
        if rows[0].key is not None:
            self._sizer.record_out_of_memory(rows[0].key, self._padded(rows))

    def _padded(self, rows: Sequence[Row]) -> int:
        return padded_size([row.task for row in rows], self._buckets(rows), total_width(rows))

    def _buckets(self, rows: Sequence[Row]) -> Sequence[int]:
        return self._models.get(rows[0].job.claim.spec.model).card.buckets
