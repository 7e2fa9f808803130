"""Arranges the OpenAPI document for the API reference page."""

from __future__ import annotations

from typing import Any, Final, cast

from apiflask import APIFlask
from flask import Flask

DOCUMENT: Final = "limner.openapi"
TAGS: Final = (
    "Jobs",
    "Conversations",
    "Bulks",
    "Images",
    "Webhooks",
    "Models",
    "Events",
    "Account",
    "Operation",
    "Health",
)


def document(app: Flask) -> dict[str, Any]:
    """The OpenAPI document of the application, made once: that takes 100 ms, while all other requests wait."""
    made: dict[str, Any] | None = app.extensions.get(DOCUMENT)
    if made is None:
        made = app.extensions[DOCUMENT] = cast("APIFlask", app).spec
    return made


def groups(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The operations by tag; a tag that TAGS does not name follows the others."""
    found: dict[str, list[dict[str, Any]]] = {tag: [] for tag in TAGS}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "post", "put", "patch", "delete"):
                found.setdefault(operation["tags"][0], []).append(_operation(spec, path, method, operation))
    return found


def _operation(spec: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> dict[str, Any]:
    fields = [
        _field(parameter["name"], parameter["schema"], parameter.get("required", False), parameter.get("description"))
        for parameter in operation.get("parameters", [])
    ]
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = spec["components"]["schemas"].get(content["schema"].get("$ref", "").rpartition("/")[2], {})
        required = schema.get("required", [])
        fields += [_field(name, field, name in required, None) for name, field in schema.get("properties", {}).items()]
    return {
        "id": f"{method}{path.replace('/', '-')}",
        "path": path,
        "method": method,
        "summary": operation.get("summary", ""),
        "text": operation.get("description", ""),
        "fields": fields,
        "answers": [(status, answer.get("description", "")) for status, answer in operation["responses"].items()],
    }


def _field(name: str, schema: dict[str, Any], required: bool, text: str | None) -> dict[str, Any]:
    kinds = [one.get("type", "") for one in schema.get("anyOf", [schema]) if one.get("type") != "null"]
    return {
        "name": name,
        "type": " or ".join(filter(None, kinds)),
        "required": required,
        "text": text or schema.get("description", ""),
    }
