"""Ends or restarts the jobs whose time has come: all in one transaction, or each by itself if that fails, so that a
damaged job, or the damaged settings of a tenant, holds up no other job.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.leadership import Leadership
from limner_shared.db import release_queries
from limner_shared.db.engine import Database, describe
from limner_shared.db.ledger import Change
from limner_shared.db.release_queries import ALL_JOBS
from limner_shared.db.tables import Job
from limner_shared.messaging.hints import Hints
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

SWEPT_AT_ONCE: Final = 1000
ALONE_SECONDS: Final = 1.0
"""Time in a round for jobs one by one; the next round continues."""

FindDue = Callable[[Session], Sequence[ColumnElement[bool]]]
"""Returns the conditions of due jobs. A job meets at most one of them."""
Transition = Callable[[Session, int, ColumnElement[bool]], list[Change]]
"""Changes due jobs that meet the condition, at most the given number."""


class JobSweep:
    """Sweeps due jobs; each job that fails is an item of the duty, set aside until its retry."""

    def __init__(self, database: Database, leadership: Leadership, hints: Hints, runner: ItemRunner) -> None:
        self._database = database
        self._leadership = leadership
        self._hints = hints
        self._runner = runner

    def run(self, duty: str, find_due: FindDue, transition: Transition) -> list[Change]:
        """Change the jobs that are due, at most SWEPT_AT_ONCE. Raises NotLeading, and the errors of an unavailable
        database.
        """
        aside = self._runner.set_aside(duty)
        scope = _all_but(aside)
        changes: list[Change] = []
        if self._has_due(find_due, scope):
            try:
                changes = self._change(transition, SWEPT_AT_ONCE, scope)
            except Exception as error:
                if self._runner.lets_through(error):
                    raise
                log.warning("a sweep failed, continuing job by job", duty=duty, error=describe(error))
                return self._one_by_one(duty, find_due, transition, aside)
        self._runner.keep(duty, aside)
        return changes

    def _has_due(self, find_due: FindDue, scope: ColumnElement[bool]) -> bool:
        with self._database.read() as session:
            return any(release_queries.has_job(session, which & scope) for which in find_due(session))

    def _change(self, transition: Transition, limit: int, scope: ColumnElement[bool]) -> list[Change]:
        with self._leadership.write() as session:
            changes = transition(session, limit, scope)
        self._hints.changed(changes)
        return changes

    def _one_by_one(self, duty: str, find_due: FindDue, transition: Transition, aside: Sequence[str]) -> list[Change]:
        scope = _all_but(aside)
        with self._database.read() as session:
            due = [release_queries.job_ids(session, which & scope, SWEPT_AT_ONCE) for which in find_due(session)]
        changes: list[Change] = []

        def change(job_id: str) -> None:
            changes.extend(self._change(transition, 1, Job.id == job_id))

        self._runner.each(duty, [*aside, *(job_id for ids in due for job_id in ids)], change, ALONE_SECONDS)
        return changes


def _all_but(ids: Sequence[str]) -> ColumnElement[bool]:
    return Job.id.not_in(ids) if ids else ALL_JOBS
