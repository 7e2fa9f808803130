"""The pages: `/`, `/conversation` and the API's documentation. The scripts in static/ use the native API."""

from __future__ import annotations

from typing import Any, cast

from apiflask import APIBlueprint, APIFlask
from flask import current_app, render_template
from markupsafe import Markup, escape

from limner_shared.domain.views import ModelView
from limner_web.services import get_services
from limner_web.view_builders import model_view

bp = APIBlueprint("pages", __name__, enable_openapi=False)

TAGS = ("Jobs", "Conversations", "Bulks", "Images", "Webhooks", "Models", "Events", "Account", "Operation", "Health")
EXAMPLES = ("red apple", "cat face", "rocket", "pizza", "smiling face with sunglasses", "sunflower", "octopus")
CONVERSATION_EXAMPLES = (
    "a red car, please",
    "four pictures of a cat in flat style",
    "请画一个红苹果",
    "ein Geist als 3d-Figur",
    "🐙🍕",
)


@bp.app_template_filter()
def prose(text: str) -> Markup:
    """Turn text in backticks into `<code>`, and escape everything else."""
    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts))


@bp.get("/")
def index() -> str:
    """The page with the form and the gallery."""
    services, models = get_services(), _models()
    return render_template(
        "index.html",
        models=models,
        data=[model.model_dump(mode="json") for model in models],
        examples=EXAMPLES,
        needs_key=services.settings.keys_required,
    )


@bp.get("/conversation")
def conversation() -> str:
    """The conversation page."""
    needs_key = get_services().settings.keys_required
    return render_template("conversation.html", models=_models(), examples=CONVERSATION_EXAMPLES, needs_key=needs_key)


@bp.get("/api/v1/docs")
def docs() -> str:
    """The API's documentation, rendered from the OpenAPI document without scripts or external files."""
    spec = cast("dict[str, Any]", cast("APIFlask", current_app).spec)
    groups: dict[str, list[dict[str, Any]]] = {tag: [] for tag in TAGS}
    for path, methods in spec["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "post", "put", "delete"):
                groups[operation["tags"][0]].append(_operation(spec, path, method, operation))
    return render_template("docs.html", spec=spec, groups=groups)


def _models() -> list[ModelView]:
    """The models of this service, the default first."""
    catalogue = get_services().catalogue
    models = [model_view(card, catalogue.default) for card in catalogue.cards.values()]
    return sorted(models, key=lambda model: not model.default)


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
