"""The models and their other names, in OpenAI's form."""

from __future__ import annotations

from typing import Any

from apiflask import APIBlueprint
from flask import Response, jsonify

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import ModelNotFound
from limner_web.services import get_services

bp = APIBlueprint("openai_models", __name__, url_prefix="/v1/models", enable_openapi=False)


@bp.get("")
def list_models() -> Response:
    """List the models, and after them the names that stand for one of them."""
    names = get_services().model_names.names
    return jsonify({"object": "list", "data": [_model(name, card) for name, card in names.items()]})


@bp.get("/<name>")
def get_model(name: str) -> Response:
    """Retrieve a model by its name or by one that stands for it."""
    card = get_services().model_names.names.get(name)
    if card is None:
        raise ModelNotFound(f"There is no model {name[:80]!r}.", field="model")
    return jsonify(_model(name, card))


def _model(name: str, card: ModelCard) -> dict[str, Any]:
    """A model in OpenAI's form; `root` is the model that a name stands for."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "limner", "root": card.name}
