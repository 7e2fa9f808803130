"""Runs a model's calls on batches: one that fails is repeated in halves, so that only the row at fault fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Final

from limner_shared.db.ledger import AttemptKey
from limner_shared.telemetry import get_logger
from limner_worker.engine.batch_sizing import Budget
from limner_worker.engine.job_run import Row
from limner_worker.generators import device_faults

log = get_logger(__name__)

Action = Callable[[Sequence[Row]], None]
LOGGED_CHARS: Final = 500


class DeviceBroken(Exception):
    """The device's context cannot be used any more; only a new process gets a new one."""


class Guard:
    """For the engine's thread, but for `stuck` and `suspects`."""

    def __init__(
        self, budget: Budget, padded: Callable[[Sequence[Row]], int], blame: Callable[[Row, Exception], None]
    ) -> None:
        """`padded` is the size that a batch is padded to; `blame` gets a row that fails alone, and why."""
        self._budget = budget
        self._padded = padded
        self._blame = blame
        self._at_work: tuple[float, Sequence[Row]] | None = None

    def stuck(self, seconds: float) -> set[AttemptKey] | None:
        """The attempts in a call that has lasted longer than this; None if there is none."""
        at_work = self._at_work
        if at_work is None or time.monotonic() - at_work[0] < seconds:
            return None
        return {row.job.key for row in at_work[1]}

    @property
    def suspects(self) -> set[AttemptKey]:
        """The attempts in the present call, or in the one that broke the device."""
        at_work = self._at_work
        return set() if at_work is None else {row.job.key for row in at_work[1]}

    def run(self, action: Action, rows: Sequence[Row], before: Callable[[], None] | None = None) -> None:
        """Run an action on rows together; if that raises, on halves of them. `before` runs before each repetition.

        Raises DeviceBroken where no later call can succeed.
        """
        error = self._attempt(action, rows)
        if error is None:
            return
        if device_faults.is_out_of_memory(error):
            device_faults.release()
            if rows[0].key is not None:
                self._budget.ran_out(rows[0].key, self._padded(rows))
            log.warning("out of memory", rows=len(rows), model=rows[0].job.claim.spec.model)
        if len(rows) == 1:
            self._blame(rows[0], error)
            return
        middle = len(rows) // 2
        for some in (rows[:middle], rows[middle:]):
            if before is not None:
                before()
            self.run(action, [row for row in some if not row.job.closed], before)

    def _attempt(self, action: Action, rows: Sequence[Row]) -> Exception | None:
        """What the action raised, without the traceback, which would keep a failed call's tensors alive."""
        if not rows:
            return None
        self._at_work = time.monotonic(), rows
        try:
            action(rows)
        except Exception as error:  # noqa: BLE001 - a model may raise anything, and the others' rows go on
            if device_faults.is_device_broken(error):
                raise DeviceBroken(repr(error)[:LOGGED_CHARS]) from None  # `_at_work` stays: these are the suspects
            self._at_work = None
            return error.with_traceback(None)
        self._at_work = None
        return None
