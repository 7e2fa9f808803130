"""The page at `/`: one template; what moves on it is the native API's, by static/app.js."""

from __future__ import annotations

from apiflask import APIBlueprint
from flask import render_template

from limner_web.schemas import model_view
from limner_web.services import services

bp = APIBlueprint("pages", __name__, enable_openapi=False)

EXAMPLES = ("red apple", "cat face", "rocket", "pizza", "smiling face with sunglasses", "sunflower", "octopus")


@bp.get("/")
def index() -> str:
    """The page."""
    held = services()
    models = [model_view(card, held.catalogue.default) for card in held.catalogue.cards.values()]
    models.sort(key=lambda model: not model.default)
    return render_template(
        "index.html",
        models=models,
        data=[model.model_dump(mode="json") for model in models],
        examples=EXAMPLES,
        needs_key=held.settings.keys_required,
    )
