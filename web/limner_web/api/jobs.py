"""Jobs: create, retrieve, list, cancel, replay, retry."""

from __future__ import annotations

import random
import time
from http import HTTPStatus
from typing import Final

from apiflask import APIBlueprint
from flask import Response, g, request, url_for
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from limner_shared.db import ledger, queries
from limner_shared.db.ledger import Change
from limner_shared.domain.jobs import JobRequest, JobState, Priority
from limner_shared.domain.views import ExplanationView, JobView, Receipts, ReceiptView, Retried
from limner_shared.errors import InvalidState
from limner_web.auth import tenant_id
from limner_web.explanation import explain
from limner_web.http.throttling import release_request_slot
from limner_web.intake import cancellation, submission
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import answer_once, repeat_of
from limner_web.limits import MAX_RETRIED_JOBS
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check
from limner_web.view_builders import job_view, read_job_view, released_view, view_tag

bp = APIBlueprint("jobs", __name__, url_prefix="/api/v1/jobs", tag="Jobs")

TAG_HEADERS: Final = ("ETag", "Cache-Control", "Retry-After")
"""The headers with which an unchanged job is answered."""
EXISTING: Final = {
    "description": "The job that holds the unique key; no job was made",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/JobView"}}},
}


class WaitQuery(BaseModel):
    """How long to wait for the job to end."""

    model_config = ConfigDict(extra="forbid")
    wait: float = Field(default=0, ge=0, le=25, description="How long to wait for a terminal state, in seconds.")


class PriorityRequest(BaseModel):
    """The priority class to which a job moves."""

    model_config = ConfigDict(extra="forbid")
    priority: Priority = Field(description="`high` is released before `normal`, and that before `low`.")


class RetryRequest(BaseModel):
    """The dead letters to retry."""

    model_config = ConfigDict(extra="forbid")
    jobs: list[str] | None = Field(
        default=None, min_length=1, max_length=MAX_RETRIED_JOBS, description="Their ids. Defaults to all dead letters."
    )


@bp.post("")
@bp.input(JobRequest, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(JobView, status_code=202)
@bp.doc(responses={200: EXISTING})
def create_job(body: JobRequest, header: JobHeaders) -> Response:
    """Create a job.

    Queues one job. Once this request returns, the job is stored and will run when its turn comes. If an earlier job
    holds the request's `unique` key, that one is returned, with the status 200 and `existing`.
    """
    services = get_services()
    return _accepted(services, submission.submit(services, tenant_id(), body, header))


@bp.get("/<id:job_id>")
@bp.input(WaitQuery, location="query", arg_name="query")
@bp.output(JobView)
@bp.doc(responses={304: "The job is unchanged since the `ETag` given in `If-None-Match`"})
def get_job(job_id: str, query: WaitQuery) -> Response:
    """Retrieve a job.

    With `wait`, the response is sent when the job has ended or the time is over, whichever comes first.
    """
    services, started = get_services(), time.monotonic()
    if query.wait:
        return _answer(_wait(services, job_id, query.wait))
    answer = _answer(read_job_view(services, tenant_id(), job_id))
    # A tenant whose requests are counted has all of them counted.
    if answer.status_code == HTTPStatus.NOT_MODIFIED and g.requests_per_minute is None:
        headers = [item for item in answer.headers.items() if item[0] in TAG_HEADERS]
        services.unchanged.remember(request.environ, job_id, headers, started)
    return answer


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
    state = cancellation.cancel_job(services, tenant_id(), job_id)
    if state is not JobState.CANCELED:
        raise InvalidState(f"The job has already {state}, so it cannot be canceled.", state=state)
    return _answer(read_job_view(services, tenant_id(), job_id))


@bp.put("/<id:job_id>/priority")
@bp.input(PriorityRequest, arg_name="body")
@bp.output(JobView)
@bp.doc(responses={409: "The job no longer waits"})
def set_priority(job_id: str, body: PriorityRequest) -> Response:
    """Move a job in the queue.

    Moves a job that waits to another priority class, in which it takes the place of its age among your jobs. It has no
    effect on a job of that class. A job that was about to start may still start in its former place.
    """
    services = get_services()
    with services.database.write() as session:
        change = ledger.prioritise(session, tenant_id(), job_id, body.priority)
    if change is not None:
        services.hints.changed([change])
        services.hints.jobs_wait()
    return _answer(read_job_view(services, tenant_id(), job_id))


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


@bp.post("/<id:job_id>/replay")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(JobView, status_code=202)
@bp.doc(responses={409: "Some of the job's images or its prompt were deleted"})
def replay_job(job_id: str, header: JobHeaders) -> Response:
    """Replay a job.

    Creates a new job that makes the same bytes again. It runs alone, in batches of the sizes that the original images
    were made in.
    """
    services = get_services()
    repeat = repeat_of(header, f"jobs {job_id} replay")
    return _accepted(services, submission.Accepted(submission.replay(services, tenant_id(), job_id, repeat)))


@bp.post("/retry")
@bp.input(RetryRequest, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(Retried, status_code=202)
def retry_jobs(body: RetryRequest, header: JobHeaders) -> Retried:
    """Retry dead letters.

    Creates a new job for each dead letter; each can be retried once. The dead letters themselves do not change. One
    request retries at most 1000.
    """
    services, changes = get_services(), list[Change]()

    def retry(session: Session) -> dict[str, list[str]]:
        changes[:] = ledger.retry_dead(session, tenant_id(), body.jobs, MAX_RETRIED_JOBS)
        return {"jobs": [change.id for change in changes]}

    answer = answer_once(services, tenant_id(), repeat_of(header, f"jobs retry {body.model_dump_json()}"), retry)
    services.hints.changed(changes)
    return Retried.model_validate(answer)


def _wait(services: Services, job_id: str, seconds: float) -> JobView:
    release_request_slot(services.limiter)
    gone = services.shutdown.or_begun(hang_up_check())
    return services.watches.await_end(
        tenant_id(), job_id, seconds, lambda: read_job_view(services, tenant_id(), job_id), gone
    )


def _accepted(services: Services, accepted: submission.Accepted) -> Response:
    view = _view_of_accepted(services, accepted)
    view.existing = accepted.existing
    answer = _answer(view)
    answer.status_code = HTTPStatus.OK if accepted.existing else HTTPStatus.ACCEPTED
    answer.headers["Location"] = url_for("jobs.get_job", job_id=accepted.job_id)
    return answer


def _view_of_accepted(services: Services, accepted: submission.Accepted) -> JobView:
    """The view of a new job, without a query if it was released at once."""
    if accepted.stored is None:
        return read_job_view(services, tenant_id(), accepted.job_id)
    if accepted.ahead is not None:
        return released_view(accepted.stored, accepted.ahead)
    with services.database.read() as session:
        return job_view(session, services.hints, accepted.stored)


def _answer(view: JobView) -> Response:
    """The response for a job; an unchanged poll gets a 304."""
    answer = Response(view.model_dump_json(), mimetype="application/json")
    answer.set_etag(view_tag(view))
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
