"""What the framework cannot know of the API's own description: every answer that is a problem, ids, bulks' bodies."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final, cast

from apiflask import APIFlask

from limner_web.request_checks import ID_PATTERN

PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "Why a request was not done (RFC 9457); other members say more, such as `field` or `retry_after`.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What to change."},
        "code": {"type": "string", "description": "Stable: for programs."},
        "request_id": {"type": ["string", "null"]},
    },
    "required": ["type", "title", "status", "detail", "code"],
}
JSON_LINES: Final = {
    "description": "One job a line, as for `POST /jobs`.",
    "required": True,
    "content": {
        kind: {"schema": {"type": "string"}, "example": '{"prompt": "a red apple"}\n{"prompt": "a cat"}\n'}
        for kind in ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "text/plain")
    },
}
ALWAYS: Final = (401, 403, 429, 500, 503)
WITH_BODY: Final = (400, 413, 415, 422, 507)
WITH_KEY: Final = (409, 410)
REASONS: Final = {
    401: "A valid API key is needed",
    403: "Not asked in a way that an open service answers",
    413: "The body is too large",
    415: "Not this kind of body",
    422: "A value that cannot be accepted",
    409: "The state of things, or an Idempotency-Key that was used for another request, does not allow it",
    410: "What this request has made before was deleted",
    429: "A limit of the tenant is reached",
    500: "A fault of the service",
    503: "The service cannot take this now",
    507: "The picture store is full",
}


def install(app: APIFlask) -> None:
    """Complete the document whenever it is made."""
    app.spec_processor(_complete)


def _complete(spec: dict[str, Any] | str) -> dict[str, Any]:
    document = cast("dict[str, Any]", spec)  # the text form is for YAML, which we do not serve
    schemas: dict[str, Any] = document["components"]["schemas"]
    for unused in ("ValidationError", "HTTPError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if (method, path) == ("post", "/api/v1/bulks"):
                operation["requestBody"] = JSON_LINES
            elif "requestBody" in operation:
                operation["requestBody"]["required"] = True
            for parameter in operation.get("parameters", []):
                _describe(parameter)
            _add_problems(path, operation)
    return document


def _describe(parameter: dict[str, Any]) -> None:
    """An id has a shape, and a parameter may be left out but cannot be null."""
    if parameter["in"] == "path":
        parameter["schema"] |= {"pattern": f"^{ID_PATTERN}$"}
    schema: dict[str, Any] = parameter["schema"]
    kinds = [kind for kind in schema.pop("anyOf", []) if kind.get("type") != "null"]
    if kinds:
        schema.pop("default", None)
        schema |= kinds[0]
    parameter["schema"] = schema


def _add_problems(path: str, operation: dict[str, Any]) -> None:
    answers: dict[str, Any] = operation["responses"]
    parameters: list[dict[str, Any]] = operation.get("parameters", [])
    statuses = {status for status in answers if status.startswith(("4", "5"))} - (
        {"503"} if path == "/readyz" else set()
    )
    statuses |= _texts(ALWAYS if path.startswith("/api/") else (403, 500))
    if parameters or "requestBody" in operation:
        statuses.add("422")
    if "requestBody" in operation:
        statuses |= _texts(WITH_BODY)
    if any(parameter["name"] == "idempotency-key" for parameter in parameters):
        statuses |= _texts(WITH_KEY)
    for status in sorted(statuses):
        said = answers.get(status, {}).get("description") or REASONS.get(int(status)) or HTTPStatus(int(status)).phrase
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        answers[status] = {"description": said, "content": content}


def _texts(statuses: tuple[int, ...]) -> set[str]:
    return {str(status) for status in statuses}
