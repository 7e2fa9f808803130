"""Finds a tenant's jobs by any combination of filters, in bounded time.

One filter names candidates in order, by an index; the others are applied to at most CANDIDATES of them for each page.
So a page may have fewer jobs than asked for, or none, although more follow.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import ColumnElement, Executable, Select, SelectBase, cast, exists, select, text, union_all
from sqlalchemy.dialects.postgresql import TSQUERY
from sqlalchemy.orm import Session

from limner_shared.db.library_tables import WORD_INDEX, JobWords, Label
from limner_shared.db.tables import DEAD, NOT_OF_A_BULK, ConversationTurn, Job
from limner_shared.domain.jobs import JobState
from limner_shared.domain.labels import FAVOURITE
from limner_shared.domain.search_words import PREFIX_CHARS, JobOrigin, key
from limner_shared.errors import InvalidRequest

CANDIDATES: Final = 1000
ORIGIN_CANDIDATES: Final = 20_000
"""Jobs that a page by origin looks at: rare ones among 100,000 then take five requests, each of some 30 ms."""
MAX_ID: Final = 2**62
CURSOR: Final = re.compile("[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class JobFilter:
    """A filter of a job list; a field that is None or empty does not filter."""

    state: JobState | None = None
    model: str | None = None
    bulk_id: str | None = None
    origin: JobOrigin | None = None
    dead: bool = False
    words: tuple[str, ...] = ()
    style: str | None = None
    conversation_id: str | None = None
    favourite: bool = False
    tag: str | None = None
    from_id: str | None = None
    """Only jobs with this id or a greater one."""
    before_id: str | None = None
    """Only jobs with a smaller id."""

    @property
    def labels(self) -> list[str]:
        """The labels that a job or one of its images must have."""
        return ([] if self.tag is None else [self.tag]) + ([FAVOURITE] if self.favourite else [])


@dataclass(frozen=True, slots=True)
class SearchPage:
    """A page of jobs, the newest first, and the cursor of the next page, if there may be more."""

    jobs: list[Job]
    next: str | None


@dataclass(frozen=True, slots=True)
class _Candidates:
    """Some jobs in order, each (cursor after it, id), and the cursor after all that were looked at, if more follow."""

    jobs: Sequence[tuple[str, str]]
    next: str | None


def find_jobs(session: Session, tenant_id: str, which: JobFilter, limit: int, cursor: str | None) -> SearchPage:
    """A page of a tenant's jobs, the newest first. Raises InvalidRequest for a cursor of another list."""
    if which.words or which.style is not None:
        candidates = _by_words(session, tenant_id, which, limit, cursor)
    elif which.conversation_id is not None:
        candidates = _by_id(session, _in_conversation(tenant_id, which.conversation_id), which, cursor)
    elif which.labels:
        candidates = _by_id(session, _labelled(tenant_id, which.labels[0]), which, cursor)
    else:
        return _listed(session, tenant_id, which, limit, cursor)
    return _page(session, filtered(tenant_id, which), candidates, limit)


def _page(session: Session, condition: ColumnElement[bool], candidates: _Candidates, limit: int) -> SearchPage:
    """The first candidates that meet the condition."""
    ids = [job_id for _, job_id in candidates.jobs]
    matching = set(session.scalars(select(Job.id).where(Job.id.in_(ids), condition)))
    hits = [each for each in candidates.jobs if each[1] in matching]
    shown = [job_id for _, job_id in hits[:limit]]
    rows = {row.id: row for row in session.scalars(select(Job).where(Job.id.in_(shown)))}
    following = hits[limit - 1][0] if len(hits) > limit else candidates.next
    return SearchPage([rows[job_id] for job_id in shown if job_id in rows], following)


def filtered(tenant_id: str, which: JobFilter) -> ColumnElement[bool]:
    """The condition on jobs of all filters but those by words and by style."""
    condition = Job.tenant_id == tenant_id
    for column, value in ((Job.state, which.state), (Job.model, which.model), (Job.bulk_id, which.bulk_id)):
        if value is not None:
            condition &= column == value
    if which.dead:
        condition &= text(f"jobs.{DEAD}")
    if which.from_id is not None:
        condition &= Job.id >= which.from_id
    if which.before_id is not None:
        condition &= Job.id < which.before_id
    if which.origin is not None:
        condition &= _has_origin(which.origin)
    for label in which.labels:
        has = (Label.tenant_id == tenant_id) & (Label.label == label) & (Label.job_id == Job.id)
        condition &= exists().where(has)
    if which.conversation_id is not None:
        turn = (ConversationTurn.conversation_id == which.conversation_id) & (ConversationTurn.job_id == Job.id)
        condition &= exists().where(turn)
    return condition


def _has_origin(origin: JobOrigin) -> ColumnElement[bool]:
    if origin is JobOrigin.BULK:
        return Job.bulk_id.is_not(None)
    if origin is JobOrigin.NOT_BULK:
        return Job.bulk_id.is_(None)
    is_turn = exists().where(ConversationTurn.job_id == Job.id)
    return is_turn if origin is JobOrigin.CONVERSATION else Job.bulk_id.is_(None) & ~is_turn


# --- candidates by id -------------------------------------------------------------------------------------------------


def _listed(session: Session, tenant_id: str, which: JobFilter, limit: int, before: str | None) -> SearchPage:
    """The newest jobs by state, model, bulk, time and origin."""
    if which.origin is not None:
        return _of_origin(session, tenant_id, which, limit, before)
    ids = _newest(tenant_id, which, limit + 1, before)
    rows = list(session.scalars(select(Job).where(Job.id.in_(ids)).order_by(Job.id.desc())))
    return SearchPage(rows[:limit], rows[limit - 1].id if len(rows) > limit else None)


def _of_origin(session: Session, tenant_id: str, which: JobFilter, limit: int, before: str | None) -> SearchPage:
    """The newest jobs of an origin, among the newest of any: most pages are full after a few of these."""
    for reach in (CANDIDATES, ORIGIN_CANDIDATES):
        looked_at = _newest(tenant_id, which, reach, before).subquery()
        query = select(Job).join(looked_at, looked_at.c.id == Job.id).where(filtered(tenant_id, which))
        rows = list(session.scalars(query.order_by(looked_at.c.id.desc()).limit(limit + 1)))
        if len(rows) > limit:
            return SearchPage(rows[:limit], rows[limit - 1].id)
    last = select(looked_at.c.id).order_by(looked_at.c.id.desc()).offset(ORIGIN_CANDIDATES - 1).limit(1)
    return SearchPage(rows, session.scalar(last))


def _newest(tenant_id: str, which: JobFilter, limit: int, before: str | None) -> SelectBase:
    """The ids of the newest jobs by state, model, bulk and time, or outside bulks: each combination is a range of an
    index.
    """
    query = select(Job.id).where(Job.tenant_id == tenant_id).order_by(Job.id.desc()).limit(limit)
    ends = [end for end in (before, which.before_id) if end is not None]
    if ends:
        query = query.where(Job.id < min(ends))
    if which.from_id is not None:
        query = query.where(Job.id >= which.from_id)
    for column, value in ((Job.model, which.model), (Job.bulk_id, which.bulk_id)):
        if value is not None:
            query = query.where(column == value)
    if which.dead:
        query = query.where(text(DEAD))
    states = list(JobState) if which.state is None else [which.state]
    if which.state is not None or which.model is not None or which.bulk_id is not None:
        # Read the newest of each state from the end of one index, so that no scan looks for jobs of a rare state.
        each = [select(query.where(Job.state == state).subquery().c.id) for state in states]
        query = union_all(*each).order_by(text("id DESC")).limit(limit)
    elif which.origin not in (None, JobOrigin.BULK):
        query = query.where(text(f"jobs.{NOT_OF_A_BULK}"))  # a large bulk may be newer than all the others
    return query


def _labelled(tenant_id: str, label: str) -> Select[str]:
    return select(Label.job_id).where(Label.tenant_id == tenant_id, Label.label == label).distinct()


def _in_conversation(tenant_id: str, conversation_id: str) -> Select[str]:
    mine = (ConversationTurn.conversation_id == conversation_id) & (Job.tenant_id == tenant_id)
    return select(ConversationTurn.job_id).join(Job, Job.id == ConversationTurn.job_id).where(mine)


def _by_id(session: Session, ids: Select[str], which: JobFilter, before: str | None) -> _Candidates:
    """The newest of these jobs."""
    [column] = ids.selected_columns
    ends = [end for end in (before, which.before_id) if end is not None]
    if ends:
        ids = ids.where(column < min(ends))
    if which.from_id is not None:
        ids = ids.where(column >= which.from_id)
    found = session.scalars(ids.order_by(column.desc()).limit(CANDIDATES)).all()
    return _Candidates([(job_id, job_id) for job_id in found], found[-1] if len(found) == CANDIDATES else None)


# --- candidates by words ----------------------------------------------------------------------------------------------


def _by_words(session: Session, tenant_id: str, which: JobFilter, limit: int, cursor: str | None) -> _Candidates:
    """The newest jobs with these words, in the order in which they were stored."""
    if cursor is not None and not CURSOR.fullmatch(cursor):
        raise InvalidRequest("cursor: it belongs to a list with other filters; begin without one.", field="cursor")
    before = MAX_ID if cursor is None else int(cursor)
    keys = [key("tenant", tenant_id)] + ([] if which.style is None else [key("style", which.style)])
    wanted = [(word, False) for word in keys] + [(word, len(word) >= PREFIX_CHARS) for word in which.words]
    if session.get_bind().dialect.name == "sqlite":
        return _ordered(session, _fts5(wanted, before))
    match = JobWords.words.op("@@")(cast(" & ".join(f"'{word}'{':*' * begins}" for word, begins in wanted), TSQUERY))
    # Words of many jobs are found among the newest ones, without reading all their entries in the index ...
    newest = select(JobWords.id, JobWords.job_id, match).where(JobWords.tenant_id == tenant_id, JobWords.id < before)
    rows = session.execute(newest.order_by(JobWords.id.desc()).limit(CANDIDATES)).all()
    hits = [(str(row[0]), row[1]) for row in rows if row[2]]
    if len(rows) < CANDIDATES or len(hits) > limit:
        return _Candidates(hits, str(rows[-1][0]) if len(rows) == CANDIDATES else None)
    # ... and words of few jobs by the index. A planner that knew the limit might read all jobs in order instead.
    every = select(JobWords.id).where(match, JobWords.id < before).cte().prefix_with("MATERIALIZED")
    return _ordered(session, select(every.c.id).order_by(every.c.id.desc()).limit(CANDIDATES))


def _fts5(wanted: Sequence[tuple[str, bool]], before: int) -> Executable:
    query = text(
        f"SELECT rowid FROM {WORD_INDEX} WHERE {WORD_INDEX} MATCH :wanted AND rowid < :before"  # noqa: S608 - constants
        f" ORDER BY rowid DESC LIMIT {CANDIDATES}"
    )
    return query.bindparams(wanted=" AND ".join(f'"{word}"{" *" * begins}' for word, begins in wanted), before=before)


def _ordered(session: Session, query: Executable) -> _Candidates:
    """The jobs of these rows of `job_words`, whose ids the query gives in order."""
    ids: Sequence[int] = session.scalars(query).all()
    jobs = {
        row.id: row.job_id for row in session.execute(select(JobWords.id, JobWords.job_id).where(JobWords.id.in_(ids)))
    }
    following = str(ids[-1]) if len(ids) == CANDIDATES else None
    return _Candidates([(str(each), jobs[each]) for each in ids if each in jobs], following)
