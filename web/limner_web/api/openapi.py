"""Completes the OpenAPI document with what APIFlask does not know: problem responses, ids, the body of bulks."""

from __future__ import annotations

import json
import re
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from apiflask import APIFlask

from limner_shared.domain.given_names import MAX_NAME_CHARS
from limner_web.api.openapi_examples import add_examples
from limner_web.request_checks import ID_PATTERN, KEY_ID_PATTERN

PROBLEM: Final = {
    "type": "object",
    "title": "Problem",
    "description": "An error (RFC 9457). Some errors have further members, such as `field` or `retry_after`.",
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What went wrong and what to change."},
        "code": {"type": "string", "description": "A stable code for programs."},
        "request_id": {"type": ["string", "null"]},
    },
    "required": ["type", "title", "status", "detail", "code"],
}
JSON_LINES: Final = {
    "description": "One job per line, as for `POST /jobs`.",
    "required": True,
    "content": {
        kind: {"schema": {"type": "string"}, "example": '{"prompt": "a red apple"}\n{"prompt": "a cat"}\n'}
        for kind in ("application/jsonl", "application/x-ndjson", "application/x-jsonlines", "text/plain")
    },
}
LIMIT_HEADERS: Final = {
    "Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."},
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": "A tenant's limit on requests: `q` in `w` seconds. Every answer to such a tenant has it.",
    },
    "RateLimit": {
        "schema": {"type": "string"},
        "description": "What is left of the limit: `r` requests for `t` seconds.",
    },
}
CONVERTED: Final = re.compile("<(?:[^:>]+:)?([^>]+)>")
"""A parameter in the path of a rule."""
COPY: Final = re.compile(r'("#/components/schemas/)\w+\.')
"""A reference to a model's copy below another one."""
JSON: Final = "application/json"
SECURITY: Final = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key. A service that listens only on loopback needs none.",
    }
}
OPEN_PATHS: Final = ("/images/", "/healthz", "/readyz")
"""Paths that need no key: a link is the permission itself."""
GIVEN_NAMES: Final = ("tag", "preset")
"""Parameters in paths that are names which a tenant gave."""
BODIES: Final[dict[str, dict[str, Any]]] = {
    "create_job": {"prompt": "a red apple", "style": "flat", "seed": 7, "metadata": {"project": "fruit"}},
    "retry_jobs": {"jobs": ["job_01m8av83q74b699dta3m9gmtqa"]},
    "cancel_waiting_jobs": {"model": "limner-flow"},
    "set_priority": {"priority": "high"},
    "rename_conversation": {"title": "My garage"},
    "save_preset": {"style": "flat", "width": 256, "height": 256, "n": 4},
    "rename_preset": {"name": "four flat ones"},
    "set_privacy": {
        "keep_images_days": 30,
        "keep_prompts_days": 30,
        "keep_jobs_days": None,
        "share_results": False,
    },
    "interpret": {"description": "zwei Bilder von roten Äpfeln als 3D-Figuren"},
    "describe_picture": {"image": "img_01m8av84g0gcnnvphz94denatd", "language": "de"},
    "post_estimate": {"jobs": [{"count": 100, "steps": 8}]},
    "create_conversation": {"message": "a red car"},
    "create_message": {"message": "bluer, please"},
    "edit_turn": {"message": "a green car"},
    "create_key": {"label": "web shop", "scopes": ["read", "submit"], "expires_at": "2027-01-31T00:00:00Z"},
    "rotate_key": {"overlap_seconds": 3600},
    "pause_own_queue": {"reason": "Tonight I need the device myself."},
    "pause": {"model": "limner-flow", "reason": "The device is being replaced."},
    "create_endpoint": {"name": "shop", "url": "https://shop.example/hook", "event_types": ["job.succeeded"]},
    "change_endpoint": {"event_types": ["job.succeeded", "job.failed"]},
    "rotate_endpoint_secret": {"overlap_seconds": 3600},
    "rotate_secret": {"overlap_seconds": 3600},
    "test_endpoint": {"event_type": "job.succeeded"},
    "redeliver_range": {"since": "2026-11-26T00:00:00Z"},
}
"""An example of a body for each operation that has one, by operation id."""
ALWAYS: Final = (401, 403, 429, 500, 503)
WITH_BODY: Final = (400, 413, 415, 422, 507)
WITH_KEY: Final = (409, 410)
REASONS: Final = {
    401: "The API key is missing or not valid",
    403: "The API key lacks a scope, which the code names; or a service without API keys does not allow this origin or "
    "host name",
    409: "The resource's state does not allow this, the idempotency key was used for another request, or a bulk that "
    "is still being read has the unique key",
    410: "The resource that this request created before was deleted",
    413: "The body is too large",
    414: "The method, path and query are too long",
    415: "The content type is not supported",
    422: "A value is not valid",
    429: "A limit of the tenant was reached",
    500: "An internal error occurred",
    503: "The service is overloaded or unavailable; try again later",
    431: "The headers are too large",
    507: "The picture store is full",
}


def install(app: APIFlask) -> None:
    """Complete the document each time it is generated."""
    app.spec_processor(partial(_complete, app))


def _complete(app: APIFlask, document: dict[str, Any]) -> dict[str, Any]:
    schemas: dict[str, Any] = document["components"]["schemas"]
    for unused in ("ValidationError", "HTTPError"):
        schemas.pop(unused, None)
    schemas["Problem"] = PROBLEM
    document["paths"]["/readyz"]["get"]["responses"]["503"]["content"] = {JSON: {"schema": {}}}  # named HTTPError
    for path in [each for each in document["paths"] if each.startswith("/v1/webhook_")]:
        del document["paths"][path]  # the same handlers as below /api/v1
    document["components"]["securitySchemes"] = SECURITY
    document["tags"] = [{"name": name} for name in dict.fromkeys(tag["name"] for tag in document["tags"])]
    document["security"] = [{"key": []}, {}]
    names = _operation_ids(app)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            operation["operationId"] = names[method.upper(), path]
            if path.startswith(OPEN_PATHS):
                operation["security"] = []
            if (method, path) == ("post", "/api/v1/bulks"):
                operation["requestBody"] = JSON_LINES
            elif "requestBody" in operation:
                operation["requestBody"]["required"] = True
                if (body := BODIES.get(operation["operationId"])) is not None:
                    operation["requestBody"]["content"][JSON]["example"] = body
            for parameter in operation.get("parameters", []):
                _describe(parameter)
            _add_problems(path, operation)
    complete = _with_shared_schemas(document)
    add_examples(complete)
    return complete


def _with_shared_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """The document with one schema for each model. APIFlask has a copy below each model that contains it
    (`JobList.JobView`), which generators of clients take for different types or cannot read.
    """
    shared: dict[str, Any] = json.loads(COPY.sub(r"\1", json.dumps(document)))
    schemas: dict[str, Any] = shared["components"]["schemas"]
    shared["components"]["schemas"] = {name.rpartition(".")[2]: schema for name, schema in schemas.items()}
    return shared


def _operation_ids(app: APIFlask) -> dict[tuple[str, str], str]:
    """The name of each operation, that of its handler, by method and path."""
    return {
        (method, CONVERTED.sub(r"{\1}", rule.rule)): rule.endpoint.rpartition(".")[2]
        for rule in app.url_map.iter_rules()
        for method in rule.methods or ()
    }


def _describe(parameter: dict[str, Any]) -> None:
    """Add the pattern of ids, and remove null: a parameter can be omitted but cannot be null."""
    if parameter["name"] == "token":
        return
    if parameter["name"] in GIVEN_NAMES and parameter["in"] == "path":
        parameter["schema"] |= {"minLength": 1, "maxLength": MAX_NAME_CHARS}
    elif parameter["in"] == "path":
        pattern = KEY_ID_PATTERN if parameter["name"] == "key_id" else ID_PATTERN
        parameter["schema"] |= {"pattern": f"^{pattern}$"}
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
    statuses |= _as_text(ALWAYS if path.startswith("/api/") else (403, 500))
    if parameters or "requestBody" in operation:
        statuses.add("422")
    if any(parameter["in"] == "query" for parameter in parameters):
        statuses.add("414")
    if any(parameter["in"] == "header" for parameter in parameters):
        statuses.add("431")
    if "requestBody" in operation:
        statuses |= _as_text(WITH_BODY)
    if any(parameter["name"] == "idempotency-key" for parameter in parameters):
        statuses |= _as_text(WITH_KEY)
    for status in sorted(statuses):
        said = answers.get(status, {}).get("description") or REASONS.get(int(status)) or HTTPStatus(int(status)).phrase
        content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
        answers[status] = {"description": said, "content": content}
        if status == "429":
            answers[status]["headers"] = LIMIT_HEADERS


def _as_text(statuses: tuple[int, ...]) -> set[str]:
    return {str(status) for status in statuses}
