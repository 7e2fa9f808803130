"""Deletion of blobs that rows no longer refer to.

Equal pictures share blobs: a blob is deleted only after no row has referred to it, and no worker has written it again,
for a while.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.many_rows import NO_SYNC, insert_many
from limner_shared.db.tables import GIVEN_UP, Garbage, Image, Input
from limner_shared.domain.jobs import JobSpec


def collect_garbage(session: Session, grace_seconds: float, limit: int) -> list[str]:
    """Hashes of blobs that were marked as garbage more than `grace_seconds` ago and that no image uses; blobs in use
    are unmarked.
    """
    old = select(Garbage.sha256).where(Garbage.since < now() - grace_seconds).order_by(Garbage.since).limit(limit)
    hashes = session.scalars(old).all()
    used = set(session.scalars(select(Image.sha256).where(Image.sha256.in_(hashes))))
    unmark_garbage(session, list(used))
    return [digest for digest in hashes if digest not in used]


def unmark_garbage(session: Session, hashes: Sequence[str]) -> None:
    """Unmark these blobs: they are deleted, or in use again."""
    session.execute(delete(Garbage).where(Garbage.sha256.in_(hashes)), execution_options=NO_SYNC)


def schedule_blob_deletion(session: Session, hashes: Sequence[str]) -> None:
    """Mark these blobs as garbage, or restart the grace period of those that are marked already."""
    if hashes:
        restarted = update(Garbage).where(Garbage.sha256.in_(hashes)).values(since=now())
        session.execute(restarted, execution_options=NO_SYNC)
        rows = [{"sha256": digest} for digest in hashes]
        insert_many(session, Garbage, rows, times={"since": 0}, skip_existing=("sha256",))


def give_up_inputs(session: Session, ids: Sequence[str]) -> None:
    """Mark the inputs of these jobs as given up."""
    session.execute(update(Input).where(Input.job_id.in_(ids)).values(job_id=None), execution_options=NO_SYNC)


def inputs_given_up(session: Session, limit: int) -> list[str]:
    """Hashes of inputs that a job gave up and that no other job uses; the marks of those in use are deleted."""
    given_up = select(Input.sha256).where(text(GIVEN_UP)).order_by(Input.id).limit(limit)
    hashes = sorted(set(session.scalars(given_up)))
    used = inputs_in_use(session, hashes)
    unmark_inputs(session, sorted(used))
    return [digest for digest in hashes if digest not in used]


def inputs_in_use(session: Session, hashes: Sequence[str]) -> set[str]:
    """The subset of these inputs that a job starts from."""
    return set(session.scalars(select(Input.sha256).where(Input.sha256.in_(hashes), Input.job_id.is_not(None))))


def add_missing_inputs(session: Session, specs: Mapping[str, object]) -> None:
    """Store the inputs of jobs, with their stored specs, that have none: the earliest served release stores only the
    pictures.
    """
    read = {job_id: spec for job_id, stored in specs.items() if (spec := JobSpec.read(stored)) and spec.inputs}
    known = set(session.scalars(select(Input.job_id).where(Input.job_id.in_(sorted(read)))))
    missing = {job_id: spec for job_id, spec in read.items() if job_id not in known}
    rows = [{"job_id": job_id, "sha256": digest} for job_id, spec in missing.items() for digest in spec.inputs.values()]
    insert_many(session, Input, rows)


def unmark_inputs(session: Session, hashes: Sequence[str]) -> None:
    """Delete the marks of these inputs."""
    session.execute(delete(Input).where(Input.sha256.in_(hashes), text(GIVEN_UP)), execution_options=NO_SYNC)


def postpone_inputs(session: Session, hashes: Sequence[str]) -> None:
    """Put the marks of these inputs behind all others: those that cannot be deleted must not hold up the rest."""
    unmark_inputs(session, hashes)
    insert_many(session, Input, [{"sha256": digest} for digest in hashes])
