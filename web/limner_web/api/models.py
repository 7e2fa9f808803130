"""Models and their parameters."""

from __future__ import annotations

from typing import Annotated, Final

from apiflask import APIBlueprint
from flask import Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from redis.exceptions import RedisError

from limner_shared.db import pause_queries
from limner_shared.domain.model_views import ModelList
from limner_shared.domain.name_views import KnownNames
from limner_shared.domain.pauses import PauseKind
from limner_shared.errors import NotFound
from limner_shared.messaging.known_names import read_names
from limner_web.services import get_services
from limner_web.view_builders import model_view

KEPT_SECONDS: Final = 3600
"""How long a client may keep a model's names: they change with its files only."""


class NamesQuery(BaseModel):
    """The language of the names."""

    model_config = ConfigDict(extra="forbid")
    language: Annotated[str, StringConstraints(pattern="^[a-z]{2,3}$")] = Field(
        default="en", description="The code of a language, such as `de`."
    )


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


@bp.get("/<name>/names")
@bp.input(NamesQuery, location="query", arg_name="query")
@bp.output(KnownNames)
@bp.doc(responses={404: "There is no such model"})
def list_names(name: str, query: NamesQuery) -> Response:
    """List known names.

    Returns the names of the things that the model was trained to draw, in a language, as hints for a prompt. The list
    is empty for a model that has none, and until one of its workers has started.
    """
    services = get_services()
    if name not in services.catalogue.cards:
        raise NotFound(f"There is no model {name}.")
    try:
        names = read_names(services.hints.redis, name, query.language)
    except RedisError:
        names = []
    answer = Response(KnownNames(items=names).model_dump_json(), mimetype="application/json")
    answer.headers["Cache-Control"] = f"private, max-age={KEPT_SECONDS}" if names else "no-cache"
    return answer
