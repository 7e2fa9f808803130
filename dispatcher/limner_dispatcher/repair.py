"""Repair: requeue lost jobs, start scheduled ones, fail overdue ones, and continue unfinished bulk operations and
cancellations.

Each routine, and within one each bulk, has its own transaction; jobs share one as long as none of them fails. Usually
nothing is due, which one read finds out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, TypeVar

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.job_sweep import SWEPT_AT_ONCE, JobSweep
from limner_dispatcher.leadership import Leadership
from limner_shared.db import ledger, pause_queries, release_queries
from limner_shared.db.accounts import pauses
from limner_shared.db.engine import Database
from limner_shared.db.ledger import Change
from limner_shared.db.release_queries import DUE, LEASE_EXPIRED, OVERDUE
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
STARTED_A_ROUND: Final = 10_000
"""The most scheduled jobs that one round starts; the next round continues."""
SWEEP_SECONDS: Final = 1.0
"""Time for sweeping bulks in a round, regardless of their number; afterwards the leases are checked again."""
CANCEL_SECONDS: Final = 0.5
"""Time for cancellations in a round, regardless of their number: the other half of a round is left to other writers."""


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
        self._sweep_jobs = JobSweep(database, leadership, hints, runner).run
        self._reaps_from = float("-inf")
        self._last_round = float("-inf")
        self._late_rounds = 0
        self._canceled_to: dict[str, str] = {}
        """Where the pass over the jobs of an order is, by its id."""

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
        run("expire", lambda: self._sweep_jobs("overdue jobs", lambda _: [OVERDUE], ledger.expire))
        run("start due jobs", self._start_due)
        run("ended pauses", self._lift_pauses)
        run("fail unknown models", self._fail_unknown)
        run("idempotency keys", self._delete_old_keys)
        self._runner.each("stale bulks", self._read(ledger.stale_bulks, STALE_BULK_SECONDS), self._drop)
        self._runner.each("sweep bulks", self._read(ledger.unswept_bulks), self._sweep, SWEEP_SECONDS)
        orders = self._read(ledger.open_cancellations)
        self._canceled_to = {order: job for order, job in self._canceled_to.items() if order in orders}
        self._runner.each("cancel waiting jobs", orders, self._cancel_waiting, CANCEL_SECONDS)

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

    def _reap(self) -> None:
        for change in self._sweep_jobs("lost jobs", lambda _: [LEASE_EXPIRED], self._requeue_lost):
            log.warning("lease lost", job=change.id, now=change.state.value)

    def _requeue_lost(self, session: Session, limit: int, scope: ColumnElement[bool]) -> list[Change]:
        # The database may have been frozen since this round began.
        if self._delay_if_late():
            return []
        lost = ledger.reap(session, self._solo_losses, limit, scope)
        # It may also have frozen before it read its clock for that statement: then every lease looks expired.
        if self._delay_if_late():
            session.rollback()
            return []
        return lost

    def _start_due(self) -> None:
        """Let due jobs wait for their release, a limited number in each transaction, until none is left."""
        for _ in range(STARTED_A_ROUND // SWEPT_AT_ONCE):
            if not self._sweep_jobs("due jobs", lambda _: [DUE], ledger.start_due):
                break
            self._hints.jobs_wait()

    def _lift_pauses(self) -> None:
        if self._read(pause_queries.has_ended_pause):
            with self._leadership.write() as session:
                pauses.lift_ended(session, SWEPT_AT_ONCE)

    def _fail_unknown(self) -> None:
        find = partial(release_queries.unserved_jobs, served=self._models, seconds=UNKNOWN_MODEL_SECONDS)

        def fail(session: Session, limit: int, scope: ColumnElement[bool]) -> list[Change]:
            return ledger.fail_unknown(session, self._models, UNKNOWN_MODEL_SECONDS, limit, scope)

        self._sweep_jobs("jobs of unknown models", find, fail)

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

    def _cancel_waiting(self, order_id: str) -> None:
        """Cancel jobs of an order in one pass over all that waits, which continues in the next round: from its start it
        would pass over the jobs of other classes again and again. A pass that finds jobs locked is followed by another.
        """
        ends_at = time.monotonic() + CANCEL_SECONDS
        while True:
            after = self._canceled_to.get(order_id, "")
            found = self._read(ledger.find_ordered, order_id, after, SWEPT_AT_ONCE)
            if found is None:
                return
            order, jobs = found
            is_last = len(jobs) < SWEPT_AT_ONCE
            with self._leadership.write() as session:
                changes = ledger.sweep_cancellation(session, order, jobs, all_=is_last and not after)
            self._hints.changed(changes)
            if is_last:
                self._canceled_to.pop(order_id, None)
            else:
                self._canceled_to[order_id] = jobs[-1]
            if (is_last and not after) or time.monotonic() >= ends_at:
                return
