"""Maintains the words by which jobs are found, and completes the jobs of earlier releases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.orm import Session

from limner_shared.db.ledger.blob_deletion import add_missing_inputs
from limner_shared.db.ledger.erasure import Forgotten
from limner_shared.db.ledger.transitions import lock
from limner_shared.db.library_tables import WORD_INDEX, WORD_PURGE, JobWords
from limner_shared.db.many_rows import NO_SYNC, insert_many
from limner_shared.db.tables import UNINDEXED, Job
from limner_shared.domain.search_words import document

MERGED_PAGES: Final = 500
"""Pages of SQLite's full-text index that one statement rewrites."""
MERGES: Final = 20


def add_words(session: Session, jobs: Iterable[tuple[str, str, Mapping[str, Any], Mapping[str, Any]]]) -> None:
    """Store the words of new jobs, each (id, tenant, spec, metadata)."""
    rows = [
        {"job_id": job_id, "tenant_id": tenant_id, "words": document(tenant_id, spec, metadata)}
        for job_id, tenant_id, spec, metadata in jobs
    ]
    insert_many(session, JobWords, rows, skip_existing=("job_id",))


def replace_words(session: Session, job_id: str, tenant_id: str, spec: Mapping[str, Any]) -> None:
    """Store the words of a job whose spec has changed."""
    metadata = session.scalar(select(Job.extra).where(Job.id == job_id)) or {}
    session.execute(delete(JobWords).where(JobWords.job_id == job_id), execution_options=NO_SYNC)
    add_words(session, [(job_id, tenant_id, spec, metadata)])


def complete_legacy_jobs(session: Session, limit: int) -> int:
    """Store what earlier releases do not for their jobs: their words, and the inputs of those that have not ended. At
    most `limit` jobs, the newest first; returns their number.
    """
    ids = lock(session, select(Job.id).where(text(UNINDEXED)).order_by(Job.id.desc()).limit(limit))
    columns = (Job.id, Job.tenant_id, Job.spec, Job.extra, Job.forgotten, Job.finished_at)
    rows = session.execute(select(*columns).where(Job.id.in_(ids))).all()
    kept = [row for row in rows if isinstance(row.spec, dict) and not row.forgotten & Forgotten.PROMPT]
    add_words(session, [(row.id, row.tenant_id, row.spec, row.extra) for row in kept])
    add_missing_inputs(session, {row.id: row.spec for row in kept if row.finished_at is None})
    if ids:
        session.execute(update(Job).where(Job.id.in_(ids)).values(indexed=True), execution_options=NO_SYNC)
    return len(ids)


def has_legacy_jobs(session: Session) -> bool:
    """Whether jobs of earlier releases are not complete yet: then any input may be that of one of them."""
    return session.scalar(select(Job.id).where(text(UNINDEXED)).order_by(Job.id.desc()).limit(1)) is not None


def purge_words(session: Session) -> bool:
    """Remove deleted words from the pages of SQLite's full-text index, which keeps them until it merges its parts.
    Returns whether it must be called again.
    """
    if session.get_bind().dialect.name != "sqlite" or not session.scalar(text(f"SELECT due FROM {WORD_PURGE}")):  # noqa: S608
        return False
    merge = text(f"INSERT INTO {WORD_INDEX} ({WORD_INDEX}, rank) VALUES ('merge', :pages)")  # noqa: S608 - a constant
    session.execute(merge, {"pages": -MERGED_PAGES})  # a negative number begins a merge of all parts
    for _ in range(MERGES):
        before = _changes(session)
        session.execute(merge, {"pages": MERGED_PAGES})
        if _changes(session) - before < 2:  # noqa: PLR2004 - FTS5's documented sign that nothing is left to merge
            session.execute(text(f"DELETE FROM {WORD_PURGE}"))  # noqa: S608 - a constant
            return False
    return True


def _changes(session: Session) -> int:
    return session.scalar(select(func.total_changes())) or 0
