"""A tenant's job updates as server-sent events."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from queue import Empty
from typing import Any, Final

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import event_queries, queries
from limner_shared.db.engine import Database
from limner_shared.domain.jobs import JobState
from limner_shared.errors import InvalidRequest
from limner_shared.messaging.hints import JobHint
from limner_web.auth import tenant_id
from limner_web.limits import EVENT_BACKLOG, MAX_POLLED_JOBS
from limner_web.request_checks import ID_PATTERN
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check
from limner_web.updates.feed import BULK_SECONDS, EVERYTHING, BulkThrottle, Stream, describe, format_event
from limner_web.updates.waits import HANG_UP_SECONDS

KEEPALIVE_SECONDS: Final = 15
READ_SECONDS: Final = 1.0
"""The shortest interval between two reads of a conversation's jobs, for events of jobs that may be new in it."""
EVENT_TYPES: Final = (
    "`job`: a job has changed (`id`, `status`, `version`). `progress`: steps of a running job (`id`, `progress` with"
    " `done` and `total`). `bulk`: jobs of a bulk have changed (`id`), at most once a second, instead of their own"
    " events. `deleted`: a job was deleted (`id`). `reset`: more was missed than can be sent; read the jobs again."
)
RESPONSES: Final[dict[int, Any]] = {
    200: {
        "description": f"A stream of server-sent events. {EVENT_TYPES}",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    404: "The bulk or conversation does not exist",
}
bp = APIBlueprint("events", __name__, url_prefix="/api/v1/events", tag="Events")


class EventQuery(BaseModel):
    """What the stream is about; by default, all jobs of the tenant."""

    model_config = ConfigDict(extra="forbid")
    bulk: str | None = Field(default=None, pattern=f"^{ID_PATTERN}$", description="Only events of this bulk.")
    conversation: str | None = Field(
        default=None, pattern=f"^{ID_PATTERN}$", description="Only events of the jobs of this conversation."
    )
    jobs: str | None = Field(
        default=None,
        pattern=f"^{ID_PATTERN}(,{ID_PATTERN}){{0,{MAX_POLLED_JOBS - 1}}}$",
        description="Only events of these jobs, at most 100, separated by commas.",
    )


class EventHeaders(BaseModel):
    """Where an interrupted stream continues."""

    last_event_id: str | None = Field(
        default=None,
        max_length=40,
        description="The `id` of the last event that was received. Changes since then are sent first, each job once, as"
        " it is now; some may be sent again.",
    )


@dataclass(slots=True)
class _Scope:
    """Which events a stream sends."""

    tenant_id: str
    bulk: str | None
    conversation: str | None
    jobs: set[str] | None
    """The jobs, if the stream is about some; those of a conversation grow as it does."""
    undecided: list[JobHint] = field(default_factory=list[JobHint])
    """Events of jobs that may be new in the conversation, until its jobs are read again."""
    read_at: float = float("-inf")
    """When the conversation's jobs were read last, by the monotonic clock."""

    @property
    def topics(self) -> Collection[str]:
        """What to follow for it: all jobs for a conversation, which gets further jobs."""
        if self.bulk is not None:
            return (self.bulk,)
        return (EVERYTHING,) if self.jobs is None or self.conversation is not None else tuple(self.jobs)

    @property
    def by_job(self) -> bool:
        """Whether the jobs of bulks have their own events."""
        return self.jobs is not None

    def select(self, database: Database, hint: JobHint | None) -> list[JobHint]:
        """What to send of an event, None for none, and of those that were undecided."""
        if hint is not None and self._covers(hint):
            return [hint]
        if hint is not None and self.conversation is not None and hint.bulk_id is None:
            self.undecided.append(hint)
        is_due = time.monotonic() - self.read_at >= READ_SECONDS or len(self.undecided) >= EVENT_BACKLOG
        if self.conversation is None or not self.undecided or not is_due:
            return []
        with database.read() as session:
            self.jobs = (self.jobs or set()).union(event_queries.conversation_jobs(session, self.conversation))
        self.read_at = time.monotonic()
        decided, self.undecided = self.undecided, []
        return [each for each in decided if self._covers(each)]

    def _covers(self, hint: JobHint) -> bool:
        """Whether an event is known to belong to the stream."""
        if self.bulk is not None:
            return hint.bulk_id == self.bulk
        return self.jobs is None or hint.id in self.jobs


@bp.get("")
@bp.input(EventQuery, location="query", arg_name="query")
@bp.input(EventHeaders, location="headers", arg_name="header")
@bp.doc(responses=RESPONSES)
def stream_events(query: EventQuery, header: EventHeaders) -> Response:
    """Stream events.

    Sends changes of state and progress as server-sent events: of all jobs, of a bulk, of a conversation or of some
    jobs. After an interruption, `Last-Event-ID` continues the stream without gaps.
    """
    services = get_services()
    scope = _scope(services, query)
    after = _position(header.last_event_id)
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    stream = _send(services, scope, after, services.shutdown.or_begun(hang_up_check()))
    return Response(stream, mimetype="text/event-stream", headers=headers)


def _scope(services: Services, query: EventQuery) -> _Scope:
    """Raises NotFound, or InvalidRequest for more than one of the filters."""
    if len(query.model_fields_set) > 1:
        raise InvalidRequest("query: give only one of `bulk`, `conversation` and `jobs`.", field="query")
    tenant = tenant_id()
    jobs = None if query.jobs is None else set(query.jobs.split(","))
    with services.database.read() as session:
        if query.bulk is not None:
            queries.bulk(session, tenant, query.bulk)
        if query.conversation is not None:
            queries.conversation(session, tenant, query.conversation)
            jobs = set(event_queries.conversation_jobs(session, query.conversation))
    return _Scope(tenant, query.bulk, query.conversation, jobs)


def _position(text: str | None) -> int | None:
    """The position in `Last-Event-ID`; None for none, and for one of an earlier release that means nothing here."""
    return int(text) if text is not None and text.isascii() and text.isdecimal() and len(text) <= 18 else None  # noqa: PLR2004


def _send(services: Services, scope: _Scope, after: int | None, gone: Callable[[], bool]) -> Iterator[str]:
    tail, bulks = services.feeds.tail, BulkThrottle()
    with services.feeds.follow(scope.tenant_id, scope.topics) as stream:
        position = tail.position
        yield "retry: 2000\n\n"
        if after is not None:
            yield from _missed(services.database, scope, after, position)
        sent_at = time.monotonic()
        while not gone():
            reached = tail.position
            # Everything up to there is in the queue or was taken from it; what is not sent yet must be sent again.
            if stream.queue.empty() and not scope.undecided and not bulks.is_waiting:
                position = reached
            for text in _next(services.database, scope, stream, bulks, position):
                sent_at = time.monotonic()
                yield text
            if time.monotonic() - sent_at >= KEEPALIVE_SECONDS:
                sent_at = time.monotonic()
                yield ": keepalive\n\n"


def _next(database: Database, scope: _Scope, stream: Stream, bulks: BulkThrottle, position: int) -> Iterator[str]:
    """The next event, if one comes within seconds, and the events of bulks that are due."""
    if stream.overflowed:
        stream.overflowed = False
        yield format_event(position, "reset", {})
    soon = bulks.is_waiting or scope.undecided
    try:
        hint = stream.queue.get(timeout=BULK_SECONDS if soon else HANG_UP_SECONDS)
    except Empty:
        hint = None
    for each in scope.select(database, hint):
        if each.bulk_id is not None and not scope.by_job and not each.deleted:
            bulks.changed(each.bulk_id)
        else:
            yield format_event(position, *describe(each))
    for bulk_id in bulks.ready():
        yield format_event(position, "bulk", {"id": bulk_id})


def _missed(database: Database, scope: _Scope, after: int, position: int) -> Iterator[str]:
    """What has changed since a position."""
    if scope.bulk is not None:
        yield format_event(position, "bulk", {"id": scope.bulk})
        return
    with database.read() as session:
        job_ids = None if scope.jobs is None else sorted(scope.jobs)
        missed = event_queries.missed_events(session, scope.tenant_id, after, job_ids)
    if missed is None:
        yield format_event(position, "reset", {})
        return
    bulks = set[str]()
    for event in missed:
        if event.bulk_id is not None and not scope.by_job:
            bulks.add(event.bulk_id)
            continue
        state = JobState(event.state)
        hint = JobHint(id=event.job_id, tenant_id=event.tenant_id, state=state, version=event.version)
        yield format_event(position, *describe(hint))
    for bulk_id in sorted(bulks):
        yield format_event(position, "bulk", {"id": bulk_id})
