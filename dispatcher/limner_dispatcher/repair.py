"""Repair: requeue lost jobs, start scheduled ones, fail overdue ones, and continue unfinished bulk operations.

Each routine, and within one each bulk or model, has its own transaction. Usually nothing is due, which one read
finds out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from sqlalchemy.orm import Session

from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.leadership import Leadership
from limner_shared.db import ledger, pause_queries, release_queries
from limner_shared.db.accounts import pauses
from limner_shared.db.engine import Database
from limner_shared.db.ledger import Change
from limner_shared.domain.durations import DAY_SECONDS
from limner_shared.messaging.hints import Hints
from limner_shared.telemetry import get_logger

log = get_logger(__name__)
_Answer = TypeVar("_Answer")

UNKNOWN_MODEL_SECONDS: Final = 60.0
"""How long a job of an unknown model waits: the model may be new, and this dispatcher not yet restarted."""
STALE_BULK_SECONDS: Final = 60.0
"""A bulk's loader reports every few seconds; after this time without a report its web process is dead."""
IDEMPOTENCY_SECONDS: Final = DAY_SECONDS
RENEWAL_SECONDS: Final = 5.0
"""After a database outage workers have this long to renew their leases before any job is reaped."""
GAP_SECONDS: Final = 3.0
"""A longer gap between two rounds, or between a round's begin and its reaping, means that the database, or every
dispatcher, was unavailable in between."""
MAX_LATE_ROUNDS: Final = 3
"""After this many late rounds one after another, the database is slow rather than back from an outage: jobs of lost
workers must not wait for a fast round.
"""
SWEPT_AT_ONCE: Final = 1000
STARTED_A_ROUND: Final = 10_000
"""The most scheduled jobs that one round starts; the next round continues."""
SWEEP_SECONDS: Final = 1.0
"""Time for sweeping bulks in a round, regardless of their number; afterwards the leases are checked again."""


class Repairs:
    """Reaps, expires and sweeps bulks."""

    def __init__(
        self,
        database: Database,
        leadership: Leadership,
        hints: Hints,
        models: Sequence[str],
        max_solo_losses: int,
        runner: ItemRunner,
    ) -> None:
        self._database = database
        self._leadership = leadership
        self._hints = hints
        self._models = list(models)
        self._solo_losses = max_solo_losses
        self._runner = runner
        self._reaps_from = float("-inf")
        self._last_round = float("-inf")
        self._late_rounds = 0

    def outage(self) -> None:
        """Delay reaping after a database outage, because the workers could not renew their leases either."""
        self._reaps_from = time.monotonic() + RENEWAL_SECONDS

    def round(self) -> None:
        """Run the routines that are due. Raises NotLeading, and the errors of an unavailable database."""
        with self._leadership.write():
            pass  # acquires or renews the leadership
        if self._is_late():
            self._delay_if_late()
        else:
            self._late_rounds = 0
        self._last_round = time.monotonic()
        run = self._runner.run
        if time.monotonic() >= self._reaps_from:
            run("reap", self._reap)
        run("expire", lambda: self._end(release_queries.has_overdue_job, ledger.expire))
        run("start due jobs", self._start_due)
        run("ended pauses", self._lift_pauses)
        run("fail unknown models", self._fail_unknown)
        run("idempotency keys", self._delete_old_keys)
        self._runner.each("stale bulks", self._read(ledger.stale_bulks, STALE_BULK_SECONDS), self._drop)
        self._runner.each("sweep bulks", self._read(ledger.unswept_bulks), self._sweep, SWEEP_SECONDS)

    def _is_late(self) -> bool:
        return time.monotonic() - self._last_round > GAP_SECONDS

    def _delay_if_late(self) -> bool:
        """Delay reaping after a gap, but not for more than MAX_LATE_ROUNDS rounds; returns whether it is delayed."""
        if not self._is_late():
            return False
        self._late_rounds += 1
        if self._late_rounds > MAX_LATE_ROUNDS:
            return False
        self.outage()
        return True

    def _read(self, query: Callable[..., _Answer], *arguments: str | float) -> _Answer:
        with self._database.read() as session:
            return query(session, *arguments)

    def _end(self, due: Callable[[Session], bool], end: Callable[[Session, int], list[Change]]) -> None:
        if self._read(due):
            with self._leadership.write() as session:
                changes = end(session, SWEPT_AT_ONCE)
            self._hints.changed(changes)

    def _reap(self) -> None:
        if not self._read(release_queries.has_expired_lease):
            return
        with self._leadership.write() as session:
            # The database may have been frozen since this round began.
            if self._delay_if_late():
                return
            lost = ledger.reap(session, self._solo_losses, SWEPT_AT_ONCE)
            # It may also have frozen before it read its clock for that statement: then every lease looks expired.
            if self._delay_if_late():
                session.rollback()
                return
        for change in lost:
            log.warning("lease lost", job=change.id, now=change.state.value)
        self._hints.changed(lost)

    def _start_due(self) -> None:
        """Let due jobs wait for their release, a limited number in each transaction, until none is left."""
        for _ in range(STARTED_A_ROUND // SWEPT_AT_ONCE):
            if not self._read(release_queries.has_due_job):
                break
            self._end(release_queries.has_due_job, ledger.start_due)
            self._hints.jobs_wait()

    def _lift_pauses(self) -> None:
        if self._read(pause_queries.has_ended_pause):
            with self._leadership.write() as session:
                pauses.lift_ended(session, SWEPT_AT_ONCE)

    def _fail_unknown(self) -> None:
        fail = partial(_fail_unknown, self._models)
        self._end(lambda session: bool(release_queries.unserved_models(session, self._models)), fail)

    def _delete_old_keys(self) -> None:
        if self._read(release_queries.has_old_keys, IDEMPOTENCY_SECONDS):
            with self._leadership.write() as session:
                ledger.delete_old_idempotency_keys(session, IDEMPOTENCY_SECONDS)

    def _drop(self, bulk_id: str) -> None:
        with self._leadership.write() as session:
            ledger.drop_bulk(session, bulk_id)

    def _sweep(self, bulk_id: str) -> None:
        with self._leadership.write() as session:
            changes = ledger.sweep_bulk(session, bulk_id, SWEPT_AT_ONCE)
        self._hints.changed(changes)


def _fail_unknown(models: Sequence[str], session: Session, limit: int) -> list[Change]:
    return ledger.fail_unknown(session, models, UNKNOWN_MODEL_SECONDS, limit)
