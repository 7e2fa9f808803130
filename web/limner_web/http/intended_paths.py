"""The path that a client with a wrong base URL probably meant: without the API's prefix, or with it twice."""

from __future__ import annotations

from typing import Final

from flask import current_app, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import RequestRedirect

PREFIXES: Final = ("/v1", "/replicate/v1", "/sdapi/v1", "/api/v1")
REPLICATE: Final = "/replicate"
"""What Replicate's clients leave out: their paths then look like those of OpenAI's API."""
DOUBLED: Final = ("/v1/v1/", "/sdapi/v1/sdapi/v1/", "/replicate/replicate/")


def intended_path() -> str | None:
    """The path of a call with this request's method that its own path differs from by a prefix; None without one."""
    path = request.path
    halved = (path.replace(twice, twice[: len(twice) // 2 + 1], 1) for twice in DOUBLED if twice in path)
    of_replicate = request.user_agent.string.startswith("replicate")
    prefixes = PREFIXES if not path.startswith("/v1/") else (REPLICATE,) if of_replicate else ()
    return next(filter(_exists, (*halved, *(prefix + path for prefix in prefixes))), None)


def _exists(path: str) -> bool:
    adapter = current_app.create_url_adapter(request)
    try:
        return adapter is not None and bool(adapter.match(path, request.method))
    except (HTTPException, RequestRedirect):
        return False
