"""Jobs that wait for a time: scheduled by their client, or until a retry. Only the database's clock decides."""

from __future__ import annotations

import random
from typing import Final

from sqlalchemy import ColumnElement, select, text, true
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.ledger.transitions import error_values, lock, transition
from limner_shared.db.ledger.types import Change, EventKind
from limner_shared.db.release_queries import ALL_JOBS, DUE
from limner_shared.db.tables import SCHEDULED, Job
from limner_shared.domain.jobs import JobState
from limner_shared.domain.scheduling import BACKOFF_CAP_SECONDS, backoff_seconds
from limner_shared.errors import LimnerError

BACK_TO_QUEUE: Final = {
    "state": JobState.QUEUED,
    "owner": None,
    "lease_until": None,
    "released_at": None,
    "lane": None,
}
"""The column values of a job that waits for its release again."""


def start_due(session: Session, limit: int, scope: ColumnElement[bool] = ALL_JOBS) -> list[Change]:
    """Let jobs whose `not_before` has come wait for their release like all others: at most `limit` of those in `scope`
    (all), the earliest first.

    The queries of the release see only jobs without `not_before`, so scheduled jobs cost them nothing.
    """
    due = select(Job.id).where(DUE, scope).order_by(Job.not_before)
    ids = lock(session, due.limit(limit))
    return transition(session, Job.id.in_(ids) & text(SCHEDULED), {"not_before": None}, EventKind.DUE) if ids else []


def retry(session: Session, current: ColumnElement[bool], error: LimnerError) -> Change | None:
    """running → queued after a backoff, for a job that failed with a retryable error, has retries left (or waits for
    what the service depends on) and does not expire before the retry. Otherwise None, and nothing changes.

    The delay is at least the error's `retry_after`; beyond the longest backoff, no retry within minutes can help.

    `current` is the fencing condition of the attempt. Lost workers are counted apart (`losses`).
    """
    least: float = error.details.get("retry_after", 0)
    if not error.retryable or least > BACKOFF_CAP_SECONDS:
        return None
    has_more = true() if error.is_awaited else Job.retries < Job.max_retries
    retries = session.scalar(select(Job.retries).where(current, has_more))
    if retries is None or (error.most_retries is not None and retries >= error.most_retries):
        return None
    seconds = least + backoff_seconds(retries, random.random())  # noqa: S311 - jitter
    counted = retries + (not error.is_awaited)
    in_time = Job.deadline_at.is_(None) | (Job.deadline_at > now() + seconds)
    values = error_values(error) | BACK_TO_QUEUE | {"retries": counted, "not_before": now() + seconds}
    detail = {"error": error.code, "retry": counted, "seconds": round(seconds, 3)}
    changes = transition(session, current & in_time, values, EventKind.RETRIED, detail)
    return changes[0] if changes else None
