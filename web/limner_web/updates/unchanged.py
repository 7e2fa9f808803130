"""Polls of unchanged jobs, which are answered again as they were a moment ago, without a query and before Flask.

A poll that was answered with 304 passed every check: of its key, of its host, of the proxies before it. If the same
request, with the same headers from the same address, comes again within RECHECK_SECONDS and no hint about its job has
come meanwhile, the answer is the same. Hints may be lost, and a key may be revoked; both are noticed after that time at
the latest, as elsewhere. Such an answer has no body, so it tells nothing to a client that does not know the job's ETag.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from limner_shared import metrics
from limner_shared.messaging.hints import JobHint
from limner_shared.recent_entries import keep_newest
from limner_shared.telemetry import begin_request, bind_log_ids, get_logger
from limner_web.serving.connection import Wsgi
from limner_web.serving.operator_port import is_operator
from limner_web.updates.listener import Listener
from limner_web.updates.watch import RECHECK_SECONDS

log = get_logger(__name__)

MOST: Final = 5_000
"""Polls that a process remembers; the oldest are forgotten."""
STATUS: Final = "304 NOT MODIFIED"
ROUTE: Final = "/api/v1/jobs/<id:job_id>"
OF_EACH_REQUEST: Final = "HTTP_X_REQUEST_ID"
"""The header that differs between equal requests."""

Poll = bytes
"""The digest of a request: a client's headers may have a megabyte."""
Header = tuple[str, str]


class UnchangedPolls:
    """The polls of this process that were answered with 304."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._answered: dict[Poll, tuple[float, str, list[Header]]] = {}
        self._changed: dict[str, float] = {}
        listener.add(self._on_hint)

    def remember(self, environ: Mapping[str, Any], job_id: str, headers: Iterable[Header], read_at: float) -> None:
        """Remember a poll whose job was read after `read_at`, by the monotonic clock."""
        self._listener.start()
        keep_newest(self._answered, _poll(environ), (read_at, job_id, list(headers)), MOST)

    def find(self, environ: Mapping[str, Any]) -> tuple[str, list[Header]] | None:
        """The job and the headers with which the same poll was answered, if its job has not changed since."""
        found = self._answered.get(_poll(environ))
        if found is None:
            return None
        read_at, job_id, headers = found
        is_current = time.monotonic() - read_at < RECHECK_SECONDS and self._changed.get(job_id, 0.0) < read_at
        return (job_id, headers) if is_current else None

    def _on_hint(self, hint: JobHint) -> None:
        keep_newest(self._changed, hint.id, time.monotonic(), MOST)


def with_unchanged_polls(
    application: Wsgi, polls: UnchangedPolls, request_id: Callable[[str], str], headers_of_all: Mapping[str, str]
) -> Wsgi:
    """Wrap a WSGI application; `request_id` gives a request's id from the one that its client has sent."""
    common = list(headers_of_all.items())

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if "HTTP_IF_NONE_MATCH" not in environ or environ["REQUEST_METHOD"] != "GET" or is_operator(environ):
            return application(environ, start_response)
        started = time.perf_counter()
        found = polls.find(environ)
        if found is None:
            return application(environ, start_response)
        job_id, headers = found
        named = request_id(environ.get(OF_EACH_REQUEST, ""))
        start_response(STATUS, [*headers, *common, ("X-Request-Id", named)])
        _record(environ["PATH_INFO"], named, job_id, time.perf_counter() - started)
        return []

    return call


def _record(path: str, request_id: str, job_id: str, seconds: float) -> None:
    """Measure and log a poll as any other request."""
    metrics.HTTP_REQUESTS.inc(method="GET", route=ROUTE, status="304")
    metrics.HTTP_REQUEST_SECONDS.observe(seconds, method="GET", route=ROUTE)
    begin_request(request_id)
    bind_log_ids(job=job_id)
    log.info("request", method="GET", path=path, route=ROUTE, status=304, ms=round(seconds * 1000, 1))


def _poll(environ: Mapping[str, Any]) -> Poll:
    """The SHA-256 of what makes two requests the same: address, path, query and all headers."""
    sent = [item for item in environ.items() if item[0].startswith("HTTP_") and item[0] != OF_EACH_REQUEST]
    same = (environ["PATH_INFO"], environ["QUERY_STRING"], environ.get("REMOTE_ADDR"), *sent)
    return hashlib.sha256(repr(same).encode("utf-8", "surrogatepass")).digest()
