"""Runs a model's calls on batches and isolates faults: a failed call is repeated on halves, so that only the row that
causes the failure fails. Knows since when a call runs, and for which rows, so that a call that hangs is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from limner_shared import metrics
from limner_shared.db.ledger import AttemptKey
from limner_shared.telemetry import get_logger, job_ids
from limner_worker.engine.job_run import Row
from limner_worker.engine.model_sizes import ModelSizes
from limner_worker.generators import device_faults

log = get_logger(__name__)

Action = Callable[[Sequence[Row]], None]
LOGGED_CHARS: Final = 500
"""Longest part of a model's exception that is logged."""


class DeviceBroken(Exception):
    """The device's context cannot be used any more; only a new process gets a new one."""


class FaultIsolator:
    """For the engine's thread; `stuck_attempts` and `suspects` may be called from any thread."""

    def __init__(
        self,
        sizes: ModelSizes,
        on_row_failed: Callable[[Row, Exception], None],
        before_call: Callable[[], None],
    ) -> None:
        """`on_row_failed` gets a row that fails alone, and the exception. `before_call` is called before each call."""
        self._sizes = sizes
        self._on_row_failed = on_row_failed
        self._before_call = before_call
        self._current: tuple[float, Sequence[Row]] | None = None
        """When the call in progress began, and its rows."""

    def stuck_attempts(self, seconds: float) -> set[AttemptKey] | None:
        """Return the attempts in a call that has lasted at least this long; None if there is no such call."""
        current = self._current
        if current is None or time.monotonic() - current[0] < seconds:
            return None
        return {row.job.key for row in current[1]}

    @property
    def suspects(self) -> set[AttemptKey]:
        """The attempts in the call in progress, or in the call that broke the device."""
        current = self._current
        return set() if current is None else {row.job.key for row in current[1]}

    @contextmanager
    def watching(self, rows: Sequence[Row]) -> Iterator[None]:
        """Watch a call of a model that is not repeated on halves, such as a preview or the release of a state.

        After an exception that leaves it, these rows are the suspects.
        """
        self._begin(rows)
        yield
        self._current = None

    def run(self, action: Action, rows: Sequence[Row], before_retry: Callable[[], None] | None = None) -> None:
        """Run an action on all rows together; if it raises, on halves of them, down to single rows.

        `before_retry` runs before each half. Raises DeviceBroken where no later call can succeed.
        """
        error = self._attempt(action, rows)
        if error is None:
            return
        if self.note_out_of_memory(error, rows):
            self._sizes.record_out_of_memory(rows)
        if len(rows) == 1:
            self._on_row_failed(rows[0], error)
            return
        middle = len(rows) // 2
        for half in (rows[:middle], rows[middle:]):
            if before_retry is not None:
                before_retry()
            self.run(action, [row for row in half if not row.job.closed], before_retry)

    @staticmethod
    def note_out_of_memory(error: Exception, rows: Sequence[Row]) -> bool:
        """Return whether rows ran out of memory; if so, free what can be, and say it."""
        if not device_faults.is_out_of_memory(error):
            return False
        device_faults.release_cached_memory()
        metrics.OUT_OF_MEMORY.inc(model=rows[0].job.claim.spec.model)
        jobs = job_ids({row.job.id for row in rows})
        log.warning("out of memory", rows=len(rows), model=rows[0].job.claim.spec.model, jobs=jobs)
        return True

    def _attempt(self, action: Action, rows: Sequence[Row]) -> Exception | None:
        """Return what the action raised, without its traceback, which would keep a failed call's tensors alive."""
        if not rows:
            return None
        self._begin(rows)
        try:
            action(rows)
        except Exception as error:  # noqa: BLE001 - a model may raise anything, and other jobs' rows must go on
            if device_faults.is_device_broken(error):
                raise DeviceBroken(repr(error)[:LOGGED_CHARS]) from None  # `_current` stays: its rows are the suspects
            self._current = None
            return error.with_traceback(None)
        self._current = None
        return None

    def _begin(self, rows: Sequence[Row]) -> None:
        self._before_call()
        self._current = time.monotonic(), rows
