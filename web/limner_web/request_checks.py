"""What every request must satisfy before a handler sees it: ids of the right shape, storable text, a readable body."""

from __future__ import annotations

from typing import Final

from flask import Flask, request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected
from werkzeug.routing import BaseConverter

from limner_shared.errors import InvalidRequest, MalformedBody, NotFound, UnsupportedMediaType
from limner_web import strict_json
from limner_web.services import get_services

JSON_PATHS: Final = ("/api/v1/jobs", "/api/v1/jobs/retry", "/api/v1/conversations")
JSON_FOLDERS: Final = ("/api/v1/conversations/", "/v1/")
PLAIN_HEADERS: Final = ("Idempotency-Key", "X-Stainless-Retry-Count")
ID_PATTERN: Final = "[a-z]+_[0-9a-z]{1,32}"
BROKEN_BODY: Final = (OSError, ParseException, ClientDisconnected)
"""What reading a body raises whose connection or chunked framing ends early."""


class IdConverter(BaseConverter):
    """An id as `ids.new_id` makes it. What is none cannot name anything, and names a fixed path such as `retry`."""

    regex = ID_PATTERN


def install(app: Flask) -> None:
    """Check each request, after it is known whose it is."""
    app.url_map.converters["id"] = IdConverter
    app.json = strict_json.StrictJson(app)
    app.before_request(_check_text)
    app.before_request(_check_body)


def cut_off(read: int, declared: int | None) -> MalformedBody:
    """The error for a body that ended early; nothing of it is used."""
    of = "" if declared is None else f" of {declared}"
    return MalformedBody(f"The body was cut off after {read}{of} bytes: send it again.")


def _check_text() -> None:
    """A path that cannot be stored names nothing; a filter or header that cannot be stored is refused by its name."""
    if not all(strict_json.is_storable(str(value)) for value in (request.view_args or {}).values()):
        raise NotFound("There is nothing at this address.")
    for name, value in request.args.items(multi=True):
        if not (strict_json.is_storable(name) and strict_json.is_storable(value)):
            raise strict_json.refuse_text("query")
    for name in PLAIN_HEADERS:
        if not strict_json.is_printable_ascii(request.headers.get(name, "")):
            raise InvalidRequest(f"{name}: only printable ASCII characters are accepted.", field=name)


def _check_body() -> None:
    """Only JSON reaches a JSON handler: it cannot be sent by a form on somebody else's page."""
    if request.routing_exception or request.method not in ("POST", "PUT") or request.path == "/api/v1/bulks":
        return
    request.max_content_length = get_services().settings.max_body_bytes
    if not (request.path in JSON_PATHS or request.path.startswith(JSON_FOLDERS)):
        return
    if request.mimetype != "application/json":
        raise UnsupportedMediaType(f"Send JSON as application/json, not {request.mimetype or 'without a type'!r}.")
    try:
        data = request.get_data()
    except BROKEN_BODY as error:
        raise cut_off(0, request.content_length) from error
    if request.content_length is not None and len(data) != request.content_length:
        raise cut_off(len(data), request.content_length)
    if not isinstance(request.get_json(force=True), dict):
        raise MalformedBody("The body must be one JSON object in UTF-8.")
