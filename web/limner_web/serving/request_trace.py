"""The span of a request. What the request does until its response begins is below it, and so are the jobs it makes.

Requests that only read are traced if the client traces them: polls are many, and each would be a trace of its own.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from flask import request

from limner_shared import tracing
from limner_shared.telemetry import begin_request

READING: Final = ("GET", "HEAD", "OPTIONS", "QUERY")


def begin(request_id: str, *, traced: bool) -> None:
    """Begin a request: all lines and spans until the next one on this greenlet belong to it."""
    span = _start(request_id) if traced and tracing.enabled() else None
    tracing.set_current(span)
    if span is None:
        begin_request(request_id)
    else:
        begin_request(request_id, trace_id=span.trace_id)


def end(status: int) -> None:
    """End the span: the response begins."""
    span = tracing.current()
    if span is not None:
        tracing.set_current(None)  # what a streamed response does later is not below it
        span.annotate({tracing.HTTP_STATUS: status})
        span.end(str(status) if status >= HTTPStatus.INTERNAL_SERVER_ERROR else None)


def _start(request_id: str) -> tracing.Span | None:
    if request.method in READING and tracing.TRACEPARENT not in request.headers:
        return None
    route = None if request.url_rule is None else request.url_rule.rule
    attributes = {
        tracing.HTTP_METHOD: request.method,
        "http.route": route,
        "url.scheme": request.scheme,
        tracing.REQUEST_ID: request_id,
    }
    headers = {name.lower(): value for name, value in request.headers.items()}
    return tracing.start_request(f"{request.method} {route or '(unknown)'}", headers, attributes)
