"""Gunicorn's worker with gevent. What gunicorn refuses before the application sees it gets a problem document too."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

from gunicorn.http.errors import ConfigurationProblem, LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.workers.ggevent import GeventWorker

from limner_shared.telemetry import get_logger
from limner_web.limits import MAX_LINE_BYTES

log = get_logger(__name__)


class ProblemWorker(GeventWorker):
    """Answers a request that is not HTTP, or whose head is too large, in the form of all other errors."""

    def handle_error(self, req: Any, client: socket.socket, addr: Any, exc: BaseException) -> None:
        """Answer a request that gunicorn could not read."""
        if not isinstance(exc, ParseException) or isinstance(exc, ConfigurationProblem):
            super().handle_error(req, client, addr, exc)
            return
        status, code, title, detail = _refusal(exc)
        log.info("request refused before it was read", code=code)
        body = json.dumps(
            {"type": f"urn:limner:{code}", "title": title, "status": status, "detail": detail, "code": code}
        )
        head = (
            f"HTTP/1.1 {status} {title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        with suppress(OSError):  # the client is gone
            client.sendall((head + body).encode())


def _refusal(error: ParseException) -> tuple[int, str, str, str]:
    """The status, the code, the title and the detail of the answer."""
    if isinstance(error, LimitRequestLine):
        detail = f"The method, path and query may have {MAX_LINE_BYTES} bytes together. Shorten the query."
        return 414, "uri_too_long", "URI Too Long", detail
    if isinstance(error, LimitRequestHeaders):
        detail = f"A header may have {MAX_LINE_BYTES} bytes, and a request 100 headers. Send fewer, or shorter ones."
        return 431, "headers_too_large", "Request Header Fields Too Large", detail
    return 400, "malformed_request", "Bad Request", "The request is not valid HTTP/1.1. Check what made it."
