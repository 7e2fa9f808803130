"""Error responses: RFC 9457 problem documents with a stable code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, cast
from urllib.parse import quote

from apiflask.exceptions import HTTPError
from flask import Flask, Response, g, json, render_template, request
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import (
    HTTPException,
    MethodNotAllowed,
    NotFound,
    RequestedRangeNotSatisfiable,
    RequestEntityTooLarge,
)

from limner_shared.db.engine import DATABASE_AWAY, is_full
from limner_shared.errors import (
    BodyTooLarge,
    DatabaseFull,
    InvalidRequest,
    LimnerError,
    ModerationBlocked,
    ObjectLost,
    Overloaded,
    ServiceUnavailable,
    StorageFailed,
    StorageFull,
)
from limner_shared.storage_failures import reason_of
from limner_shared.telemetry import get_logger
from limner_web.http.intended_paths import intended_path

log = get_logger(__name__)

HTTP_CODES: Final = {
    400: "malformed_body",
    404: "not_found",
    405: "method_not_allowed",
    416: "range_not_satisfiable",
}
JSON: Final = "application/json"
DESCRIBED_ERRORS: Final = 20
"""Wrong values of one request that its answer describes."""
TEXT_FIELDS: Final = ("prompt", "description", "message")
OPENAI_PATHS: Final = "/v1/"
OPENAI_TYPES: Final[dict[int, str]] = {
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.FORBIDDEN: "permission_error",
    HTTPStatus.TOO_MANY_REQUESTS: "rate_limit_error",
}
"""The types of OpenAI's errors that do not follow from the first digit of the status."""
SERVER_ERRORS: Final = HTTPStatus.INTERNAL_SERVER_ERROR
EMPTY_TEXT: Final = "Describe the picture you want."
UNKNOWN_FIELD: Final = "there is no such field here; leave it out, or check its name"
MISSING_FIELD: Final = "it is missing"
TYPES: Final[Mapping[type, str]] = {
    str: "a text",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
"""What a value of JSON is called in errors."""
MAX_PATH_CHARS: Final = 200
METHODS_OF_EVERY_PATH: Final = ("HEAD", "OPTIONS")


def install(app: Flask) -> None:
    """Register the handlers that turn every error into a problem document."""
    app.register_error_handler(LimnerError, problem)
    app.register_error_handler(StorageFailed, _storage)
    app.register_error_handler(StorageFull, _storage)
    app.register_error_handler(ObjectLost, _lost)
    app.register_error_handler(ValidationError, lambda error: problem(from_validation(error)))
    app.register_error_handler(RequestEntityTooLarge, lambda _error: problem(_too_large()))
    app.register_error_handler(HTTPError, _apiflask)
    app.register_error_handler(HTTPException, _http)
    for kind in DATABASE_AWAY:
        app.register_error_handler(kind, _database)
    app.register_error_handler(PoolTimeout, lambda _error: problem(Overloaded(retry_after=2)))
    app.register_error_handler(Exception, _unexpected)


def problem(error: LimnerError) -> Response:
    """The response for one of our errors. Its detail `retry_after`, in seconds, becomes the `Retry-After` header."""
    answer = document(error.status, error.code, error.title, error.message, error.details)
    if "retry_after" in error.details:
        answer.headers["Retry-After"] = str(math.ceil(error.details["retry_after"]))  # RFC 9110: whole seconds
    # OpenAI's clients repeat every 409 and 5xx unless they are told not to.
    if not error.retryable and request.path.startswith(OPENAI_PATHS):
        answer.headers["X-Should-Retry"] = "false"
    return answer


def document(
    status: int, code: str, title: str, detail: str, more: dict[str, Any] | None = None, path: str | None = None
) -> Response:
    """A problem document; `more` holds its extension members.

    Paths of another API get that API's form, and browsers that open a page get a page. `path` is the one that the
    client probably meant, if that is not the request's.
    """
    path = path or request.path
    if path.startswith(OPENAI_PATHS):
        return _openai(status, code, detail, more or {})
    if path.startswith(("/sdapi/", "/controlnet/")):
        return Response(json.dumps({"detail": detail, "code": code} | (more or {})), status, mimetype=JSON)
    if path.startswith("/hf/"):
        return Response(json.dumps({"error": detail, "code": code} | (more or {})), status, mimetype=JSON)
    if _wants_page():
        page = render_template("error.html", status=status, code=code, title=title, detail=detail)
        return Response(page, status, content_type="text/html; charset=utf-8")
    body = {"type": f"urn:limner:{code}", "title": title, "status": status, "detail": detail, "code": code}
    body |= {"request_id": g.get("request_id")} | (more or {})
    return Response(json.dumps(body), status, content_type="application/problem+json")


def renamed(error: InvalidRequest | ValidationError, names: Mapping[str, str]) -> InvalidRequest:
    """The same error with the name by which the client's API calls our field; `names` has those that differ."""
    if isinstance(error, ValidationError):
        return from_validation(error, names)
    field = str(error.details.get("field"))
    whole, bracket, place = field.partition("[")
    name = names.get(field) or names.get(whole, whole) + bracket + place
    if name == field or not error.message.startswith(f"{field}:"):
        return error
    return type(error)(name + error.message.removeprefix(field), **error.details | {"field": name})


def _wants_page() -> bool:
    """Whether the request came from a browser's address bar or a form, not from a program."""
    is_api = request.path.startswith(("/api/", "/static/"))
    return not is_api and request.accept_mimetypes.best_match(["application/json", "text/html"]) == "text/html"


def _openai(status: int, code: str, detail: str, more: dict[str, Any]) -> Response:
    """The same error in OpenAI's format."""
    error = openai_error(status, code, detail, more)
    return Response(json.dumps({"error": error}), status, mimetype=JSON)


def openai_error(status: int, code: str, detail: str, more: dict[str, Any]) -> dict[str, Any]:
    """The object that describes an error in OpenAI's API; `param` is the field at fault, or the first of several."""
    errors = cast("list[dict[str, Any]]", more.get("errors") or [])
    first: dict[str, Any] = errors[0] if errors else {}
    if code == ModerationBlocked.code:
        kind = "image_generation_user_error"  # as OpenAI's image calls have it
    else:
        kind = OPENAI_TYPES.get(status) or ("invalid_request_error" if status < SERVER_ERRORS else "server_error")
    return {"message": detail, "type": kind, "param": more.get("field") or first.get("field") or None, "code": code}


def from_validation(error: ValidationError, names: Mapping[str, str] = MappingProxyType({})) -> InvalidRequest:
    """Convert Pydantic's errors: `errors` lists each of the first with its field and a message.

    `names` has the fields that the client's API calls by other names.
    """
    errors: list[dict[str, str]] = []
    parts: list[str] = []
    for found in error.errors(include_url=False)[:DESCRIBED_ERRORS]:
        own = ".".join(map(str, found["loc"]))
        field = names.get(own.partition(".")[0], own)
        empty = found["type"] == "string_too_short" and own in TEXT_FIELDS
        message = EMPTY_TEXT if empty else _message(found)
        errors.append({"field": field, "message": message})
        parts.append(EMPTY_TEXT if empty else f"{field or 'body'}: {message}")
    if (others := error.error_count() - len(errors)) > 0:
        parts.append(f"and {others} more")
    return InvalidRequest("; ".join(parts), errors=errors)


def _message(found: ErrorDetails) -> str:
    """What is wrong with one value, and what was sent where that is of another type."""
    kind, message = found["type"], found["msg"].replace("Input should be", "must be")
    if kind == "extra_forbidden":
        return UNKNOWN_FIELD
    if kind == "missing":
        return MISSING_FIELD
    if kind.endswith(("_type", "_parsing")):
        sent: object = found["input"]
        return f"{message}, not {TYPES.get(type(sent), 'this')}"
    return message


def _apiflask(error: HTTPError) -> Response:
    """The response for invalid input that APIFlask reports, and for its own errors."""
    if isinstance(error.__cause__, ValidationError):
        return problem(from_validation(error.__cause__))
    return document(error.status_code, "http_error", "Error", error.message or "Error")


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    code = HTTP_CODES.get(status, "http_error")
    meant = intended_path() if isinstance(error, NotFound | MethodNotAllowed) else None
    told = _told(error) if meant is None else f"{_told(error)} Did you mean {meant}? Check the client's base URL."
    answer = document(status, code, error.name, told, path=meant)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        answer.headers["Allow"] = ", ".join(error.valid_methods)
    if isinstance(error, RequestedRangeNotSatisfiable) and error.length is not None:
        answer.headers["Content-Range"] = f"bytes */{error.length}"
    return answer


def _told(error: HTTPException) -> str:
    """What is wrong. A request that no route takes is named, because a client's program does not show its calls."""
    called = f"{request.method} {quote(request.path[:MAX_PATH_CHARS], errors='replace')}"
    if isinstance(error, MethodNotAllowed):
        methods = sorted({*(error.valid_methods or ())} - {*METHODS_OF_EVERY_PATH}) or ["OPTIONS"]
        return f"{called} does not exist; this path has {', '.join(methods)}."
    if isinstance(error, NotFound):
        return f"No call and no object of this service matches {called}."
    return error.description or error.name


def _database(error: DBAPIError) -> Response:
    log.warning("database away", error=str(error.orig)[:200])
    if is_full(error):
        return problem(DatabaseFull(retry_after=30))
    message = "The database is unavailable or busy. Try again shortly."
    return problem(ServiceUnavailable(message, retry_after=2))


def _too_large() -> BodyTooLarge:
    most = request.max_content_length
    limit = "" if most is None else f" This call takes {most // 1_000_000} MB; send less, such as smaller pictures."
    return BodyTooLarge(f"{BodyTooLarge.__doc__}{limit}")


def _storage(error: StorageFailed | StorageFull) -> Response:
    log.warning("the picture store fails", error=error.code, reason=reason_of(error))
    return problem(error)


def _lost(error: ObjectLost) -> Response:
    log.error("an object is lost", **error.details)
    return problem(error)


def _unexpected(error: Exception) -> Response:
    log.error("unexpected error", exc_info=error)
    return problem(LimnerError("An internal error occurred. The service's log has the details under this request id."))
