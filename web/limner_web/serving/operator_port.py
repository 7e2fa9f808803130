"""The operator's port of the web server: a second socket of the same processes, for metrics and health only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from limner_web.serving.connection import SOCKET, Wsgi

OPERATOR: Final = "limner.operator"
"""The key of the WSGI environment that marks a request on the operator's port."""
HEALTH: Final = ("/healthz", "/readyz")


def with_operator_port(application: Wsgi, web_port: int) -> Wsgi:
    """Wrap a WSGI application: a request on another port than the web's is the operator's, for metrics and health."""

    def call(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        connection = environ.get(SOCKET)
        if connection is not None and connection.getsockname()[1] != web_port:
            path = environ.get("PATH_INFO", "")
            if not path.startswith("/metrics") and path not in HEALTH:
                start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
                return []
            environ[OPERATOR] = True
        return application(environ, start_response)

    return call


def is_operator(environ: dict[str, Any]) -> bool:
    """Whether a request came in on the operator's port. No header can set this key."""
    return environ.get(OPERATOR) is True
