"""Lists of jobs: by filters, or by their ids."""

from __future__ import annotations

import hashlib
from typing import Final

from apiflask import APIBlueprint
from flask import Response, request
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import queries
from limner_shared.db.search import JobFilter, find_jobs
from limner_shared.db.tables import Job
from limner_shared.domain.ids import first_id
from limner_shared.domain.jobs import JobState
from limner_shared.domain.labels import MAX_TAG_CHARS, read_tag
from limner_shared.domain.scheduling import Moment
from limner_shared.domain.search_words import JobOrigin, read_query
from limner_shared.domain.views import JobList
from limner_shared.errors import InvalidRequest
from limner_web.auth import tenant_id
from limner_web.http.throttling import release_request_slot
from limner_web.limits import MAX_POLLED_JOBS
from limner_web.request_checks import ID_PATTERN
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check
from limner_web.view_builders import job_views, view_tag

bp = APIBlueprint("job_lists", __name__, url_prefix="/api/v1/jobs", tag="Jobs")


TAG_CHARS: Final = 32
"""The length of the ETag of many jobs: 128 bits of a digest."""


class ListQuery(BaseModel):
    """The filters and the page of the list."""

    model_config = ConfigDict(extra="forbid")
    ids: str | None = Field(
        default=None,
        pattern=f"^{ID_PATTERN}(,{ID_PATTERN}){{0,{MAX_POLLED_JOBS - 1}}}$",
        description="Only these jobs, at most 100, separated by commas. Takes no other filter than `wait`.",
    )
    wait: float = Field(
        default=0, ge=0, le=25, description="With `ids`: how long to wait until one of them has ended, in seconds."
    )
    status: JobState | None = Field(default=None, description="Only jobs with this status.")
    state: JobState | None = Field(
        default=None, description="The earlier name of `status`.", json_schema_extra={"deprecated": True}
    )
    model: str | None = Field(default=None, description="Only jobs of this model.")
    bulk: str | None = Field(default=None, description="Only jobs of this bulk, by its id.")
    origin: JobOrigin | None = Field(
        default=None,
        description="Only jobs that were asked for alone (`single`), in a bulk, or in a conversation; or all but "
        "those of bulks (`not_bulk`). The jobs of a deleted conversation are single ones.",
    )
    q: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        description="Only jobs whose prompt, description and metadata have all of these words. The beginning of a word "
        "is enough, from three letters; accents and capitals do not matter.",
    )
    style: str | None = Field(default=None, max_length=200, description="Only jobs in this style.")
    conversation: str | None = Field(default=None, max_length=40, description="Only jobs of this conversation, by id.")
    favourite: bool = Field(default=False, description="Only favourites, and jobs with a favourite image.")
    tag: str | None = Field(
        default=None,
        max_length=MAX_TAG_CHARS,
        description="Only jobs with this tag, or with an image that has it.",
    )
    created_after: Moment | None = Field(
        default=None, description="Only jobs accepted at this time or later, as RFC 3339 writes it."
    )
    created_before: Moment | None = Field(default=None, description="Only jobs accepted before this time.")
    dead: bool = Field(
        default=False, description="Only dead letters: jobs that failed because every worker that ran them stopped."
    )
    limit: int = Field(default=50, ge=1, le=100, description="The largest number of jobs per page.")
    cursor: str | None = Field(
        default=None, max_length=40, description="The value of `next` from the previous page, with the same filters."
    )

    @property
    def filter(self) -> JobFilter:
        """The filters. Raises InvalidRequest."""
        return JobFilter(
            state=self.status or self.state,
            model=self.model,
            bulk_id=self.bulk,
            origin=self.origin,
            dead=self.dead,
            words=() if self.q is None else read_query(self.q),
            style=self.style,
            conversation_id=self.conversation,
            favourite=self.favourite,
            tag=None if self.tag is None else read_tag(self.tag),
            from_id=None if self.created_after is None else first_id("job", self.created_after.timestamp()),
            before_id=None if self.created_before is None else first_id("job", self.created_before.timestamp()),
        )


@bp.get("")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(JobList)
@bp.doc(responses={304: "With `ids`: the jobs are unchanged since the `ETag` given in `If-None-Match`"})
def list_jobs(query: ListQuery) -> JobList | Response:
    """List jobs.

    Returns the jobs that meet all filters, newest first. A page may have fewer jobs than `limit`, or none, although
    more follow: the list ends where `next` is null.

    With `ids`, returns these jobs in this order, without those that do not exist. With `wait` as well, the response is
    sent when one of them has ended or the time is over: so ask only for those that have not ended. The answer has an
    `ETag`, with which a poll of unchanged jobs gets a 304.
    """
    services = get_services()
    if query.ids is not None:
        return _polled(services, query)
    with services.database.read() as session:
        found = find_jobs(session, tenant_id(), query.filter, query.limit, query.cursor)
        views = job_views(session, services.hints, found.jobs)
    return JobList(items=views, next=found.next)


def _polled(services: Services, query: ListQuery) -> Response:
    """The response with the jobs of the given ids; an unchanged poll gets a 304.

    Raises InvalidRequest if there are other filters.
    """
    if others := sorted(query.model_fields_set - {"ids", "wait"}):
        raise InvalidRequest(f"{others[0]}: `ids` takes no other filters; leave it out.", field=others[0])
    ids = (query.ids or "").split(",")
    tenant = tenant_id()

    def look() -> list[Job]:
        with services.database.read() as session:
            return queries.jobs_of(session, tenant, ids)

    rows = look()
    if query.wait and rows and not _some_ended(rows):
        release_request_slot(services.limiter)
        watched = [row.id for row in rows]
        gone = services.shutdown.or_begun(hang_up_check())
        services.watches.wait_for_any(tenant, watched, query.wait, lambda: _some_ended(look(), len(watched)), gone)
        rows = look()
    with services.database.read() as session:
        found = JobList(items=job_views(session, services.hints, rows), next=None)
    answer = Response(found.model_dump_json(), mimetype="application/json")
    tags = "\n".join(view_tag(view) for view in found.items)
    answer.set_etag(hashlib.sha256(tags.encode()).hexdigest()[:TAG_CHARS])
    answer.headers["Cache-Control"] = "private, no-cache"
    answer.make_conditional(request)
    return answer


def _some_ended(rows: list[Job], expected: int = 0) -> bool:
    """Whether a job has ended, or one of those expected was deleted."""
    return len(rows) < expected or any(JobState(row.state).terminal for row in rows)
