"""Models and their parameters."""

from __future__ import annotations

from apiflask import APIBlueprint

from limner_shared.domain.views import ModelList
from limner_web.services import get_services
from limner_web.view_builders import model_view

bp = APIBlueprint("models", __name__, url_prefix="/api/v1/models", tag="Models")


@bp.get("")
@bp.output(ModelList)
def list_models() -> ModelList:
    """List models.

    Returns the models of this service with their sizes, styles, limits and defaults.
    """
    catalogue = get_services().catalogue
    return ModelList(items=[model_view(card, catalogue.default) for card in catalogue.cards.values()])
