"""What the calls of OpenAI's API that make a job share: submit it, wait for its end, answer or stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from flask import Response, request, stream_with_context
from sqlalchemy.exc import TimeoutError as PoolTimeout

from limner_shared.db import queries
from limner_shared.db.engine import DATABASE_AWAY
from limner_shared.domain.conditions import Turn
from limner_shared.domain.jobs import JobRequest, JobState
from limner_shared.domain.views import JobView
from limner_shared.errors import DeadlineExceeded, InvalidState, LimnerError, ServiceUnavailable, stored_error
from limner_shared.telemetry import get_logger
from limner_web.auth import tenant_id
from limner_web.intake import submission
from limner_web.intake.headers import JobHeaders
from limner_web.problems import openai_error
from limner_web.services import Services
from limner_web.updates.watch import HANG_UP_SECONDS
from limner_web.view_builders import job_view

log = get_logger(__name__)

WAIT_SECONDS: Final = 590.0
"""Less than the 600 seconds after which the openai package gives up."""
KEEPALIVE: Final = ": keepalive\n\n"
"""A comment, which clients ignore and which keeps proxies from closing the connection."""


def submit(services: Services, job_request: JobRequest, place: str, history: tuple[Turn, ...] = ()) -> str:
    """Queue the job of a call and return its id; a repeated call gets the job of its first try.

    `place` is what the call says beside `job_request`, so that only equal calls count as repeated. Raises what
    `submission.submit` raises.
    """
    names = {name: request.headers.get(name.replace("_", "-")) for name in JobHeaders.model_fields}
    header = JobHeaders.model_validate(names)
    context = submission.ConversationContext(place, history, lambda _session, _job: None, waits=True)
    key, retries = header.idempotency_key, header.x_stainless_retry_count
    return submission.submit(services, tenant_id(), job_request, key, retries, context).job_id


def follow(
    services: Services, tenant: str, job_id: str, gone: Callable[[], bool], every: float = HANG_UP_SECONDS
) -> Iterator[JobView]:
    """Yield the job's view after each `every` seconds, at last when it has ended.

    A client that hangs up ends the waiting, not the job. Raises DeadlineExceeded if the job has not ended within
    WAIT_SECONDS or the client has gone.
    """

    def look() -> JobView:
        with services.database.read() as session:
            return job_view(session, services.hints, queries.job(session, tenant, job_id))

    for view in services.watches.follow(tenant, job_id, WAIT_SECONDS, look, gone, every):
        yield view
        if view.status.terminal:
            return
    raise DeadlineExceeded(f"The image is not ready yet. Retrieve it later from /api/v1/jobs/{job_id}.")


def require_success(job: JobView) -> JobView:
    """The job, if it has succeeded. Raises the error that it failed with, or InvalidState if it was canceled."""
    if job.status is JobState.CANCELED:
        raise InvalidState("The job was canceled.", state=job.status)
    if job.status is not JobState.SUCCEEDED:
        code, message = (job.error.code, job.error.message) if job.error else ("", "The job failed.")
        raise stored_error(code, message)
    return job


def event(data: dict[str, Any]) -> str:
    """A server-sent event. Its type is inside the data, where OpenAI's client looks for it."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def event_stream(events: Iterable[str]) -> Response:
    """The response that streams these events. An error becomes the last event, which the client raises."""
    stream = stream_with_context(_with_error_event(events))
    return Response(stream, mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


def with_warning(answer: Response, warning: str | None) -> Response:
    """The response with a `Warning` header (RFC 7234, code 299) if there is a warning, which must be ASCII."""
    if warning is not None:
        answer.headers["Warning"] = '299 limner "{}"'.format(warning.replace("\\", "").replace('"', "'"))
    return answer


def _with_error_event(events: Iterable[str]) -> Iterator[str]:
    try:
        yield from events
    except LimnerError as error:
        yield _error(error)
    except (*DATABASE_AWAY, PoolTimeout) as error:
        log.warning("database away", error=repr(error)[:200])
        yield _error(ServiceUnavailable())
    except Exception as error:
        log.exception("unexpected error", exc_info=error)
        yield _error(LimnerError("An internal error occurred. The service's log has the details."))


def _error(error: LimnerError) -> str:
    return event({"error": openai_error(error.status, error.code, error.message, error.details)})
