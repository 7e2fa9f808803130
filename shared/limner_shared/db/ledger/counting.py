"""Metrics of jobs, and marks in their traces, made once the transaction that changed them is committed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Final, cast

from sqlalchemy import Row
from sqlalchemy.orm import Session

from limner_shared import metrics, tracing
from limner_shared.db.after_commit import after_commit
from limner_shared.db.ledger.types import EventKind
from limner_shared.domain.jobs import JobState, Lane, Priority
from limner_shared.metrics.instruments import STATE

LEASE_LOST: Final = "lease lost"
"""The reason of a requeue that counts as a lost lease."""
DEAD_LETTER: Final = "dead letter"
MARKED: Final = (EventKind.REQUEUED, EventKind.RETRIED, EventKind.FAILED, EventKind.CANCELED)
"""What a trace shows by a span of its own: often no worker is there to say it."""
NEVER_CHANGED: Final = 2
"""The version of a job at its first claim, unless it was scheduled: that, too, is a change."""
LANES: Final = {lane: lane.name.lower() for lane in Lane} | {None: Lane.NORMAL.name.lower()}
PRIORITIES: Final = [priority.value for priority in Priority]
"""The labels of priority classes, by the number that the database keeps."""

Rows = Sequence[Row[*tuple[Any, ...]]]


def count_submission(session: Session, jobs: Sequence[tuple[str, Priority]], *, bulk: bool) -> None:
    """Count new jobs, each with its model and priority class."""
    after_commit(session, partial(_submission, jobs, bulk))


def count_transition(session: Session, kind: EventKind, rows: Rows, detail: Mapping[str, Any] | None) -> None:
    """Count a transition of jobs. A row has the columns that `transition` returns."""
    if rows:
        after_commit(session, partial(_transition, kind, rows, str((detail or {}).get("reason", ""))))


def count_claims(session: Session, rows: Rows) -> None:
    """Count claims. A row has `model`, `lane`, `version` and `waited`, the seconds since its acceptance."""
    if rows and STATE.enabled:
        after_commit(session, partial(_claims, rows))


def _submission(jobs: Sequence[tuple[str, Priority]], bulk: bool) -> None:
    metrics.JOBS_SUBMITTED.inc_each(jobs)
    if bulk:
        metrics.BULK_LINES.inc(len(jobs))


def _claims(rows: Rows) -> None:
    claimed = _columns(rows, "model", "lane", "version", "waited")
    metrics.ATTEMPTS.inc_each((model,) for model, _, _, _ in claimed)
    metrics.JOB_WAIT_SECONDS.observe_each(
        (waited, (model, LANES[lane])) for model, lane, version, waited in claimed if version == NEVER_CHANGED
    )


def _transition(kind: EventKind, rows: Rows, reason: str) -> None:
    if reason in (LEASE_LOST, DEAD_LETTER):
        metrics.LEASES_LOST.inc_each((row.model,) for row in rows)
    if reason == DEAD_LETTER:
        metrics.DEAD_LETTERS.inc_each((row.model,) for row in rows)
    if kind in (EventKind.REQUEUED, EventKind.RETRIED):
        why = reason.replace(" ", "_") or "retryable_error"
        metrics.JOBS_REQUEUED.inc_each((row.model, why) for row in rows)
    elif STATE.enabled and kind in (EventKind.SUCCEEDED, EventKind.FAILED, EventKind.CANCELED):
        _ended(rows)
    if kind in MARKED and tracing.enabled():
        _mark(kind, rows, reason)


def _mark(kind: EventKind, rows: Rows, reason: str) -> None:
    """Record a span without length in the trace of each job."""
    for row in rows:
        attributes = {
            tracing.JOB_ID: row.id,
            tracing.MODEL: row.model,
            "limner.attempt.number": row.attempt,
            "limner.reason": reason or None,
        }
        error = row.error_code if row.state == JobState.FAILED else None
        tracing.record(kind.value, row.traceparent, tracing.clock(), attributes, error=error)


def _ended(rows: Rows) -> None:
    ended = _columns(rows, "model", "state", "error_code", "priority", "seconds")
    metrics.JOBS_ENDED.inc_each(
        (model, state, (code or "") if state == JobState.FAILED else "") for model, state, code, _, _ in ended
    )
    metrics.JOB_END_TO_END_SECONDS.observe_each(
        (seconds, (model, PRIORITIES[int(priority)]))
        for model, state, _, priority, seconds in ended
        if state == JobState.SUCCEEDED
    )
    if STATE.by_tenant:
        metrics.TENANT_JOBS_ENDED.inc_each((row.tenant_id, row.state) for row in rows)


def _columns(rows: Rows, *names: str) -> list[tuple[Any, ...]]:
    """Some columns of each row, by position: to look a column up by its name in each row costs more than to count."""
    fields: tuple[str, ...] = cast("Any", rows[0])._fields
    return list(map(itemgetter(*map(fields.index, names)), rows))
