"""Models and their parameters."""

from __future__ import annotations

from apiflask import APIBlueprint

from limner_shared.db import pause_queries
from limner_shared.domain.pauses import PauseKind
from limner_shared.domain.views import ModelList
from limner_web.services import get_services
from limner_web.view_builders import model_view

bp = APIBlueprint("models", __name__, url_prefix="/api/v1/models", tag="Models")


@bp.get("")
@bp.output(ModelList)
def list_models() -> ModelList:
    """List models.

    Returns the models of this service with their sizes, styles, limits and defaults, and whether they are paused.
    """
    services = get_services()
    catalogue = services.catalogue
    with services.database.read() as session:
        pauses = {row.subject: row for row in pause_queries.pauses(session) if row.kind == PauseKind.MODEL}
    cards = catalogue.cards.values()
    return ModelList(items=[model_view(card, catalogue.default, pauses.get(card.name)) for card in cards])
