"""Metrics of jobs, and marks in their traces, made once the transaction that changed them is committed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final

from sqlalchemy import Row
from sqlalchemy.orm import Session

from limner_shared import metrics, tracing
from limner_shared.db.after_commit import after_commit
from limner_shared.domain.jobs import JobState, Lane, Priority
from limner_shared.metrics.instruments import STATE

LEASE_LOST: Final = "lease lost"
"""The reason of a requeue that counts as a lost lease."""
DEAD_LETTER: Final = "dead letter"
MARKED: Final = ("requeued", "retried", "failed", "canceled")
"""What a trace shows by a span of its own: often no worker is there to say it."""
NEVER_CHANGED: Final = 2
"""The version of a job at its first claim, unless it was scheduled: that, too, is a change."""

Rows = Sequence[Row[*tuple[Any, ...]]]


def count_submission(session: Session, jobs: Sequence[tuple[str, Priority]], *, bulk: bool) -> None:
    """Count new jobs, each with its model and priority class."""
    after_commit(session, partial(_submission, jobs, bulk))


def count_transition(session: Session, kind: str, rows: Rows, detail: Mapping[str, Any] | None) -> None:
    """Count a transition of jobs. A row has the columns that `types.transition` returns."""
    if rows:
        after_commit(session, partial(_transition, kind, rows, str((detail or {}).get("reason", ""))))


def count_claims(session: Session, rows: Rows) -> None:
    """Count claims. A row has `model`, `lane`, `version` and `waited`, the seconds since its acceptance."""
    if rows:
        after_commit(session, partial(_claims, rows))


def _submission(jobs: Sequence[tuple[str, Priority]], bulk: bool) -> None:
    for (model, priority), count in Counter(jobs).items():
        metrics.JOBS_SUBMITTED.inc(count, model=model, priority=priority.value)
    if bulk:
        metrics.BULK_LINES.inc(len(jobs))


def _claims(rows: Rows) -> None:
    for model, count in Counter[str](row.model for row in rows).items():
        metrics.ATTEMPTS.inc(count, model=model)
    for row in rows:
        if row.version == NEVER_CHANGED:
            metrics.JOB_WAIT_SECONDS.observe(row.waited, model=row.model, lane=_lane(row.lane))


def _transition(kind: str, rows: Rows, reason: str) -> None:
    lost = reason in (LEASE_LOST, DEAD_LETTER)
    for model, count in Counter[str](row.model for row in rows if lost).items():
        metrics.LEASES_LOST.inc(count, model=model)
        if reason == DEAD_LETTER:
            metrics.DEAD_LETTERS.inc(count, model=model)
    if kind in ("requeued", "retried"):
        why = reason.replace(" ", "_") or "retryable_error"
        for model, count in Counter[str](row.model for row in rows).items():
            metrics.JOBS_REQUEUED.inc(count, model=model, reason=why)
    elif kind in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED):
        _ended(rows)
    if kind in MARKED and tracing.enabled():
        _mark(kind, rows, reason)


def _mark(kind: str, rows: Rows, reason: str) -> None:
    """Record a span without length in the trace of each job."""
    for row in rows:
        attributes = {
            tracing.JOB_ID: row.id,
            tracing.MODEL: row.model,
            "limner.attempt.number": row.attempt,
            "limner.reason": reason or None,
        }
        error = row.error_code if row.state == JobState.FAILED else None
        tracing.record(kind, row.traceparent, tracing.clock(), attributes, error=error)


def _ended(rows: Rows) -> None:
    for (model, state, code), count in Counter((row.model, row.state, row.error_code or "") for row in rows).items():
        metrics.JOBS_ENDED.inc(count, model=model, state=state, code=code if state == JobState.FAILED else "")
    for row in rows:
        if row.state == JobState.SUCCEEDED:
            priority = list(Priority)[int(row.priority)]
            metrics.JOB_END_TO_END_SECONDS.observe(row.seconds, model=row.model, priority=priority.value)
    if STATE.by_tenant:
        for (tenant, state), count in Counter((row.tenant_id, row.state) for row in rows).items():
            metrics.TENANT_JOBS_ENDED.inc(count, tenant=tenant, state=state)


def _lane(lane: int | None) -> str:
    return (Lane.NORMAL if lane is None else Lane(lane)).name.lower()
