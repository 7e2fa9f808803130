"""Jobs: create, retrieve, list, cancel, replay, retry."""

from __future__ import annotations

import random
import time

from apiflask import APIBlueprint
from flask import Response, make_response, request, url_for
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import ledger, queries
from limner_shared.db.search import JobFilter, find_jobs
from limner_shared.db.tables import Job
from limner_shared.domain.ids import first_id
from limner_shared.domain.jobs import JobRequest, JobState
from limner_shared.domain.labels import MAX_TAG_CHARS, read_tag
from limner_shared.domain.scheduling import Moment
from limner_shared.domain.search_words import read_query
from limner_shared.domain.views import ExplanationView, JobList, JobView, Receipts, ReceiptView, Retried
from limner_shared.errors import InvalidRequest, InvalidState
from limner_web.auth import tenant_id
from limner_web.explanation import explain
from limner_web.intake import submission
from limner_web.intake.headers import JobHeaders
from limner_web.limits import MAX_POLLED_JOBS, MAX_RETRIED_JOBS
from limner_web.request_checks import ID_PATTERN
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check
from limner_web.throttling import release_request_slot
from limner_web.view_builders import job_view, job_views

bp = APIBlueprint("jobs", __name__, url_prefix="/api/v1/jobs", tag="Jobs")


class WaitQuery(BaseModel):
    """How long to wait for the job to end."""

    model_config = ConfigDict(extra="forbid")
    wait: float = Field(default=0, ge=0, le=25, description="How long to wait for a terminal state, in seconds.")


class RetryRequest(BaseModel):
    """The dead letters to retry."""

    model_config = ConfigDict(extra="forbid")
    jobs: list[str] | None = Field(
        default=None, min_length=1, max_length=MAX_RETRIED_JOBS, description="Their ids. Defaults to all dead letters."
    )


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
    state: JobState | None = Field(default=None, description="Only jobs in this state.")
    model: str | None = Field(default=None, description="Only jobs of this model.")
    bulk: str | None = Field(default=None, description="Only jobs of this bulk, by its id.")
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
            state=self.state,
            model=self.model,
            bulk_id=self.bulk,
            dead=self.dead,
            words=() if self.q is None else read_query(self.q),
            style=self.style,
            conversation_id=self.conversation,
            favourite=self.favourite,
            tag=None if self.tag is None else read_tag(self.tag),
            from_id=None if self.created_after is None else first_id("job", self.created_after),
            before_id=None if self.created_before is None else first_id("job", self.created_before),
        )


@bp.post("")
@bp.input(JobRequest, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(JobView, status_code=202)
def create_job(body: JobRequest, header: JobHeaders) -> Response:
    """Create a job.

    Queues one job. Once this request returns, the job is stored and will run when its turn comes.
    """
    services = get_services()
    job_id = submission.submit(services, tenant_id(), body, header.idempotency_key, header.x_stainless_retry_count)
    return _accepted(services, job_id)


@bp.get("/<id:job_id>")
@bp.input(WaitQuery, location="query", arg_name="query")
@bp.output(JobView)
@bp.doc(responses={304: "The job is unchanged since the `ETag` given in `If-None-Match`"})
def get_job(job_id: str, query: WaitQuery) -> Response:
    """Retrieve a job.

    With `wait`, the response is sent when the job has ended or the time is over, whichever comes first.
    """
    services = get_services()
    return _answer(_wait(services, job_id, query.wait) if query.wait else _view(services, job_id))


@bp.get("")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(JobList)
def list_jobs(query: ListQuery) -> JobList:
    """List jobs.

    Returns the jobs that meet all filters, newest first. A page may have fewer jobs than `limit`, or none, although
    more follow: the list ends where `next` is null.

    With `ids`, returns these jobs in this order, without those that do not exist. With `wait` as well, the response is
    sent when one of them has ended or the time is over: so ask only for those that have not ended.
    """
    services = get_services()
    if query.ids is not None:
        return _polled(services, query)
    with services.database.read() as session:
        found = find_jobs(session, tenant_id(), query.filter, query.limit, query.cursor)
        views = job_views(session, services.hints, found.jobs)
    return JobList(items=views, next=found.next)


@bp.get("/<id:job_id>/explain")
@bp.output(ExplanationView)
def explain_job(job_id: str) -> ExplanationView:
    """Explain a job.

    Says in words and numbers why a job waits, and when it will probably be finished. The estimate comes from the jobs
    of its model that were finished last.
    """
    services = get_services()
    with services.database.read() as session:
        return explain(session, services.hints.redis, queries.job(session, tenant_id(), job_id))


@bp.post("/<id:job_id>/cancel")
@bp.output(JobView)
@bp.doc(responses={409: "The job has already ended"})
def cancel_job(job_id: str) -> Response:
    """Cancel a job.

    Cancels a job that has not ended. Canceling a canceled job again has no effect.
    """
    services = get_services()
    with services.database.write() as session:
        row = queries.job(session, tenant_id(), job_id)
        changes = ledger.cancel(session, Job.id == job_id)
        if not changes and row.state != JobState.CANCELED:
            raise InvalidState(f"The job has already {row.state}, so it cannot be canceled.", state=row.state)
    services.hints.changed(changes)
    return _answer(_view(services, job_id))


@bp.delete("/<id:job_id>")
@bp.output({}, status_code=204)
@bp.doc(responses={409: "The job has not ended"})
def delete_job(job_id: str) -> str:
    """Delete a job.

    Deletes a job that has ended, with its prompt, events, images, tags and its words in a conversation. Its files
    are deleted within half an hour, unless other images have the same bytes. A repetition of the request that created
    the job, with the same idempotency key, is answered with `410`.
    """
    services = get_services()
    with services.database.write() as session:
        change = ledger.delete_job(session, tenant_id(), job_id)
    services.hints.deleted(change)
    return ""


@bp.get("/<id:job_id>/receipts")
@bp.output(Receipts)
def get_receipts(job_id: str) -> Receipts:
    """List the receipts of a job.

    A receipt records how an image was made, with all that is needed to make the same bytes again.
    """
    with get_services().database.read() as session:
        row = queries.job(session, tenant_id(), job_id)
        images = queries.images(session, [row.id])[row.id]
    return Receipts(items=[ReceiptView(image=i.id, sha256=i.sha256, receipt=dict(i.receipt)) for i in images])


@bp.get("/<id:job_id>/preview")
@bp.doc(
    responses={
        200: {"description": "A rough preview", "content": {"image/webp": {}}},
        204: {"description": "There is no preview yet"},
    }
)
def get_preview(job_id: str) -> Response:
    """Retrieve a preview.

    Returns a rough preview of a running job's first image. Workers make previews only while clients request them, about
    once a second.
    """
    services = get_services()
    with services.database.read() as session:
        queries.job(session, tenant_id(), job_id)
    preview = services.hints.watch(job_id)
    answer = Response(preview, mimetype="image/webp") if preview else Response(status=204)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@bp.post("/<id:job_id>/replay")
@bp.output(JobView, status_code=202)
@bp.doc(responses={409: "Some of the job's images or its prompt were deleted"})
def replay_job(job_id: str) -> Response:
    """Replay a job.

    Creates a new job that makes the same bytes again. It runs alone, in batches of the sizes that the original images
    were made in.
    """
    services = get_services()
    return _accepted(services, submission.replay(services, tenant_id(), job_id))


@bp.post("/retry")
@bp.input(RetryRequest, arg_name="body")
@bp.output(Retried, status_code=202)
def retry_jobs(body: RetryRequest) -> Retried:
    """Retry dead letters.

    Creates a new job for each dead letter; each can be retried once. The dead letters themselves do not change. One
    request retries at most 1000.
    """
    services = get_services()
    with services.database.write() as session:
        changes = ledger.retry_dead(session, tenant_id(), body.jobs, MAX_RETRIED_JOBS)
    services.hints.changed(changes)
    return Retried(jobs=[change.id for change in changes])


def _polled(services: Services, query: ListQuery) -> JobList:
    """The jobs with the given ids. Raises InvalidRequest if there are other filters."""
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
        services.watches.wait_for_any(
            tenant, watched, query.wait, lambda: _some_ended(look(), len(watched)), hang_up_check()
        )
        rows = look()
    with services.database.read() as session:
        return JobList(items=job_views(session, services.hints, rows), next=None)


def _some_ended(rows: list[Job], expected: int = 0) -> bool:
    """Whether a job has ended, or one of those expected was deleted."""
    return len(rows) < expected or any(JobState(row.state).terminal for row in rows)


def _view(services: Services, job_id: str) -> JobView:
    with services.database.read() as session:
        return job_view(session, services.hints, queries.job(session, tenant_id(), job_id))


def _wait(services: Services, job_id: str, seconds: float) -> JobView:
    release_request_slot(services.limiter)
    *_, view = services.watches.follow(tenant_id(), job_id, seconds, lambda: _view(services, job_id), hang_up_check())
    return view


def _accepted(services: Services, job_id: str) -> Response:
    answer = _answer(_view(services, job_id))
    answer.status_code = 202
    answer.headers["Location"] = url_for("jobs.get_job", job_id=job_id)
    return answer


def _answer(view: JobView) -> Response:
    """The response for a job. Its ETag changes with everything that the view shows, so an unchanged poll gets a 304."""
    answer = make_response(view.model_dump(mode="json"))
    progress = view.progress.done if view.progress else view.position or 0
    answer.set_etag(f"{view.id}-{view.version}-{progress}")
    answer.headers["Cache-Control"] = "private, no-cache"
    if not view.status.terminal:
        # Jobs far back in the queue, or scheduled, are polled less often; the random second spreads the polls.
        ahead = (view.position or 0) // 20
        if view.not_before is not None:
            ahead = int(view.not_before.timestamp() - time.time())
        answer.headers["Retry-After"] = str(max(1, min(10, 1 + ahead + random.randint(0, 1))))  # noqa: S311
    if request.method == "GET":
        answer.make_conditional(request)
    return answer
