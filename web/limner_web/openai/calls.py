"""What the calls of OpenAI's API that make a job share: submit it, wait for its end, answer or stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from flask import Response, request, stream_with_context
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from limner_shared.db.engine import DATABASE_AWAY, is_full
from limner_shared.domain.conditions import Turn
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import DatabaseFull, LimnerError, ServiceUnavailable
from limner_shared.telemetry import get_logger
from limner_web.auth import tenant_id
from limner_web.http.problems import openai_error
from limner_web.intake import submission
from limner_web.intake.headers import JobHeaders
from limner_web.services import Services

log = get_logger(__name__)

KEEPALIVE: Final = ": keepalive\n\n"
"""A comment, which clients ignore and which keeps proxies from closing the connection."""


def submit(
    services: Services,
    job_request: JobRequest,
    digest_prefix: str,
    history: tuple[Turn, ...] = (),
    store: Callable[[Session, str], None] = lambda _session, _job_id: None,
) -> str:
    """Queue the job of a call and return its id; a repeated call gets the job of its first try.

    `digest_prefix` is what the call says beside `job_request`, so that only equal calls count as repeated. `store` is
    called with the new job's id in the transaction that creates it. Raises what `submission.submit` raises.
    """
    header = JobHeaders.read(request.headers)
    context = submission.ConversationContext(digest_prefix, history, store, waits=True)
    return submission.submit(services, tenant_id(), job_request, header, context).job_id


def event(data: dict[str, Any]) -> str:
    """A server-sent event. Its type is inside the data, where OpenAI's client looks for it."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


def event_stream(events: Iterable[str]) -> Response:
    """The response that streams these events. An error becomes the last event, which the client raises."""
    stream = stream_with_context(_with_error_event(events))
    return Response(stream, mimetype="text/event-stream", headers={"Cache-Control": "no-store"})


def _with_error_event(events: Iterable[str]) -> Iterator[str]:
    try:
        yield from events
    except LimnerError as error:
        yield _error(error)
    except (*DATABASE_AWAY, PoolTimeout) as error:
        log.warning("database away", error=repr(error)[:200])
        yield _error(DatabaseFull() if is_full(error) else ServiceUnavailable())
    except Exception as error:
        log.exception("unexpected error", exc_info=error)
        yield _error(LimnerError("An internal error occurred. The service's log has the details."))


def _error(error: LimnerError) -> str:
    return event({"error": openai_error(error.status, error.code, error.message, error.details)})
