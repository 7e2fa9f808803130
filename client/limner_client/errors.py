"""The errors of the client: what a server's refusal becomes, and that no server answers."""

from __future__ import annotations

from typing import Any, Final, cast

import httpx

from limner_shared.domain.stored_errors import class_of
from limner_shared.errors import LimnerError, ServiceUnavailable

PROBLEM_FIELDS: Final = {"type", "title", "status", "detail", "instance", "message"}
GATEWAY_ERRORS: Final = (502, 503, 504)
"""Statuses with which a proxy reports that its server is unavailable."""


class ClientError(LimnerError):
    """The server refused the request."""

    code, title = "client_error", "Request refused"


class ServerUnreachable(ServiceUnavailable):
    """No Limner server answers at this address."""

    code, title = "server_unreachable", "Server unreachable"


def refused(answer: httpx.Response) -> LimnerError:
    """Convert the server's problem document (RFC 9457) to the error of the same code."""
    try:
        problem: Any = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        if answer.status_code in GATEWAY_ERRORS:
            return ServiceUnavailable(f"The proxy before the server answered {answer.status_code}.")
        return ClientError(f"The server answered {answer.status_code} {answer.reason_phrase}.")
    fields = cast("dict[str, Any]", problem)
    message = str(fields.get("detail") or fields.get("title") or answer.reason_phrase)
    details = {name: value for name, value in fields.items() if name not in PROBLEM_FIELDS}
    kind = class_of(str(fields.get("code"))) or ClientError
    return kind(message, **details)
