"""Checks of every request before its handler runs: the form of ids, text that can be stored, a readable body."""

from __future__ import annotations

from typing import Final

from flask import Flask, request
from werkzeug.routing import BaseConverter

from limner_shared.errors import InvalidRequest, MalformedBody, NotFound, UnsupportedMediaType
from limner_shared.settings import CELL_PATTERN
from limner_web.http import route_rules, strict_json
from limner_web.http.request_bodies import BROKEN_BODY, StrictRequest, cut_off
from limner_web.http.route_rules import Body
from limner_web.services import get_services

PLAIN_HEADERS: Final = ("Idempotency-Key", "X-Stainless-Retry-Count")
ID_PATTERN: Final = "[a-z]+_[0-9a-z]{1,32}"
KEY_ID_PATTERN: Final = f"(?:{CELL_PATTERN}-)?[0-9a-f]{{12}}"


class IdConverter(BaseConverter):
    """Matches ids as `ids.new_id` makes them, so that a fixed path such as `retry` is never taken for an id."""

    regex = ID_PATTERN


class KeyIdConverter(BaseConverter):
    """Matches the ids of keys."""

    regex = KEY_ID_PATTERN


def install(app: Flask) -> None:
    """Install the checks. They run after `auth` has identified the tenant."""
    app.request_class = StrictRequest
    app.url_map.converters |= {"id": IdConverter, "key_id": KeyIdConverter}
    app.json = strict_json.StrictJson(app)
    app.before_request(_check_text)
    app.before_request(_check_body)


def _check_text() -> None:
    """Refuse text that the databases cannot store: NotFound in a path, InvalidRequest in a filter or header."""
    if not all(strict_json.is_storable(str(value)) for value in (request.view_args or {}).values()):
        raise NotFound("There is nothing at this URL.")
    for name, value in request.args.items(multi=True):
        if not strict_json.is_storable(name):
            raise strict_json.refuse_text("query")
        if not strict_json.is_storable(value):
            raise strict_json.refuse_text(name)
    for name in PLAIN_HEADERS:
        if not strict_json.is_printable_ascii(request.headers.get(name, "")):
            raise InvalidRequest(f"{name}: use only printable ASCII characters.", field=name)


def _check_body() -> None:
    """Let only JSON reach a JSON handler: a form on a page of another site cannot send that content type."""
    body = route_rules.of_request().body
    if request.routing_exception or request.method not in ("POST", "PUT") or body is Body.LINES:
        return
    settings = get_services().settings
    request.max_content_length = settings.max_body_bytes
    if body is Body.FILE:
        request.max_content_length += settings.max_bulk_bytes
    is_form = body is Body.JSON_OR_FORM and request.mimetype == "multipart/form-data"
    if body in (Body.JSON, Body.JSON_OR_FORM) and not is_form:
        _check_json()


def _check_json() -> None:
    if request.mimetype != "application/json":
        given = f"not {request.mimetype!r}" if request.mimetype else "which is missing"
        raise UnsupportedMediaType(f"Send JSON with the header `Content-Type: application/json`, {given}.")
    try:
        data = request.get_data()
    except BROKEN_BODY as error:
        raise cut_off(0, request.content_length) from error
    if request.content_length is not None and len(data) != request.content_length:
        raise cut_off(len(data), request.content_length)
    if not isinstance(request.get_json(force=True), dict):
        raise MalformedBody("The body must be a single JSON object in UTF-8.")
