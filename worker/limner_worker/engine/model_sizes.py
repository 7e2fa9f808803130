"""The batch sizes of each model's calls: the buckets of its card, within the limits that `batch_sizing` finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from limner_worker.engine.batch_sizing import BatchSizer
from limner_worker.engine.job_run import Row
from limner_worker.generators.base import padded_size
from limner_worker.generators.model_cache import ModelCache


class ModelSizes:
    """For the engine's thread. All rows of a call are of one model, which is loaded."""

    def __init__(self, models: ModelCache) -> None:
        self._models = models
        self._sizer = BatchSizer()

    def allowed(self, key: Any) -> Sequence[int]:
        """Return the sizes that a call for rows of this key may be padded to."""
        model, *_ = key
        return self._sizer.allowed_sizes(key, self._models.cards[model].buckets)

    def record_duration(self, rows: Sequence[Row], seconds: float) -> None:
        """Record a call that succeeded. A replay dictates its sizes, so it says nothing about others."""
        if rows[0].task.replay is None:
            self._sizer.record_success(rows[0].key, self._padded(rows), seconds, self._buckets(rows))

    def record_out_of_memory(self, rows: Sequence[Row]) -> None:
        """Record a call that ran out of memory. The start of rows has no key, and no limit."""
        if rows[0].key is not None:
            self._sizer.record_out_of_memory(rows[0].key, self._padded(rows))

    def _padded(self, rows: Sequence[Row]) -> int:
        return padded_size([row.task for row in rows], self._buckets(rows))

    def _buckets(self, rows: Sequence[Row]) -> Sequence[int]:
        return self._models.get(rows[0].job.claim.spec.model).card.buckets
