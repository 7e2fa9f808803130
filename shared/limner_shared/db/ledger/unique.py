"""Unique jobs: at most one unfinished job for each key of a tenant.

The primary key of `unique_keys` is the guarantee. A row outlives its job's end and is taken over by the next job with
the key; it is deleted with its job. So no state change has to release a key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, select, tuple_, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import insert_new, now
from limner_shared.db.ledger.types import NewJob, UniqueHold
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Bulk, Job, UniqueKey
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.jobs import JobState
from limner_shared.errors import UniqueKeyLoading

Name = tuple[str, str]
"""The scope and the hash of a key."""
ENDED_BULKS: Final = (BulkState.CANCELING, BulkState.CANCELED, BulkState.DROPPING)
"""The jobs of such a bulk are about to end, so they hold no key."""


def hold_unique_keys(
    session: Session, tenant_id: str, new: Sequence[NewJob], bulk_id: str | None = None
) -> dict[int, str]:
    """Let each of these jobs hold its unique key. Returns, by position in `new`, the jobs that hold the other keys:
    earlier ones, or ones before it in `new`. A job at such a position must not be submitted; all others must be, in
    this transaction.

    Transactions that want the same key wait for each other. Raises UniqueKeyLoading if a job of another bulk that is
    still being read holds a key: that bulk may still be dropped.
    """
    named = [(place, _name(job, job.unique), job.unique) for place, job in enumerate(new) if job.unique is not None]
    firsts: dict[Name, UniqueHold] = {}
    for _, name, hold in named:
        firsts.setdefault(name, hold)
    holders = {name: hold.job_id for name, hold in firsts.items()}
    left = dict(sorted(firsts.items()))  # in this order, so that no two transactions wait for each other
    while left:
        for name in _insert(session, tenant_id, left):
            del left[name]
        rows = _lock(session, tenant_id, left)
        held = _held(session, rows.values(), bulk_id)
        _take_over(session, tenant_id, {name: left[name] for name, job_id in rows.items() if job_id not in held})
        for name, job_id in rows.items():
            if job_id in held:
                holders[name] = job_id
            del left[name]
        # What is left was deleted with its job in between: insert it now.
    return {place: holders[name] for place, name, hold in named if holders[name] != hold.job_id}


def _name(job: NewJob, hold: UniqueHold) -> Name:
    scope = f"model {job.spec.model}" if hold.unique.scope == "model" else ""
    return scope, hashlib.sha256(hold.unique.key.encode()).hexdigest()


def _insert(session: Session, tenant_id: str, holds: Mapping[Name, UniqueHold]) -> list[Name]:
    """Insert the keys that have no row; a concurrent transaction that has inserted one is waited for."""
    rows = [
        {"tenant_id": tenant_id, "scope": scope, "digest": digest, "job_id": hold.job_id, "kept_until": _end(hold)}
        for (scope, digest), hold in holds.items()
    ]
    new = insert_new(session, UniqueKey, "tenant_id", "scope", "digest").values(rows)
    return [(row.scope, row.digest) for row in session.execute(new.returning(UniqueKey.scope, UniqueKey.digest))]


def _end(hold: UniqueHold) -> ColumnElement[float] | None:
    return None if hold.unique.seconds is None else now() + hold.unique.seconds


def _lock(session: Session, tenant_id: str, names: Iterable[Name]) -> dict[Name, str]:
    """Lock the rows of these keys; returns the jobs in them."""
    pairs = tuple_(UniqueKey.scope, UniqueKey.digest)
    query = select(UniqueKey.scope, UniqueKey.digest, UniqueKey.job_id).where(
        UniqueKey.tenant_id == tenant_id, pairs.in_(list(names))
    )
    rows = session.execute(query.order_by(UniqueKey.scope, UniqueKey.digest).with_for_update())
    return {(row.scope, row.digest): row.job_id for row in rows}


def _held(session: Session, job_ids: Iterable[str], bulk_id: str | None) -> set[str]:
    """The jobs among these that hold their keys. A statement of its own: it sees what was committed before the lock."""
    query = (
        select(Job.id, Job.state, Job.bulk_id, Bulk.state.label("bulk"), (UniqueKey.kept_until > now()).label("kept"))
        .join(UniqueKey, UniqueKey.job_id == Job.id)
        .outerjoin(Bulk, Bulk.id == Job.bulk_id)
        .where(Job.id.in_(list(job_ids)))
    )
    held: set[str] = set()
    for row in session.execute(query):
        state = JobState(row.state)
        if row.bulk in ENDED_BULKS or (state.terminal and not (state is JobState.SUCCEEDED and row.kept)):
            continue
        if row.bulk == BulkState.LOADING and row.bulk_id != bulk_id:
            raise UniqueKeyLoading(job=row.id)
        held.add(row.id)
    return held


def _take_over(session: Session, tenant_id: str, holds: Mapping[Name, UniqueHold]) -> None:
    """Give keys whose jobs have ended to new jobs. Their rows are locked."""
    for (scope, digest), hold in holds.items():
        same = (UniqueKey.tenant_id == tenant_id) & (UniqueKey.scope == scope) & (UniqueKey.digest == digest)
        statement = update(UniqueKey).where(same).values(job_id=hold.job_id, kept_until=_end(hold))
        session.execute(statement, execution_options=NO_SYNC)
