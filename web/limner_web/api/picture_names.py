"""What a picture shows, and a prompt for it, as far as the evaluator of a model knows such pictures."""

from __future__ import annotations

from typing import Final

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import MAX_IMAGE_CHARS, RequestedName
from limner_shared.domain.jobs import JobRequest
from limner_shared.domain.name_views import PictureNames, SeenName
from limner_shared.errors import InterpreterUnavailable, InvalidRequest
from limner_shared.messaging import questions
from limner_web.api.interpretation import WAIT_SECONDS, answer_of
from limner_web.auth import tenant_id
from limner_web.services import Services, get_services
from limner_web.serving.connection import hang_up_check

bp = APIBlueprint("picture_names", __name__, url_prefix="/api/v1/describe", tag="Images")

SIDE: Final = 64
"""Pixels along one side of what evaluators look at."""
RECOGNISED: Final = 0.56
"""The likeness from which a name is offered as a prompt: drawings reach it with their own name, photos with none."""


class PictureRequest(BaseModel):
    """A picture to describe."""

    model_config = ConfigDict(extra="forbid")
    image: str = Field(
        max_length=MAX_IMAGE_CHARS,
        description="The id of one of your pictures, or a `data:` URL of PNG, JPEG or WebP.",
    )
    model: RequestedName | None = Field(
        default=None, description="A model with an evaluator; default: the first of `GET /models` that has one."
    )
    language: str = Field(default="en", pattern="^[a-z]{2,3}$", description="The language of the names, such as `de`.")


@bp.post("")
@bp.input(PictureRequest, arg_name="body")
@bp.output(PictureNames)
def describe_picture(body: PictureRequest) -> PictureNames:
    """Describe a picture.

    Returns names of what the picture shows, and a prompt. An evaluator knows drawings of single things like those that
    its model was trained with: of a photo, or of several things, it recognises nothing, and `prompt` is null. A worker
    of the model looks at the picture; without one the answer is `503` with the code `interpreter_unavailable`.
    """
    services = get_services()
    card = _card(services, body.model)
    _, spec = services.catalogue.resolve(JobRequest(prompt="a picture", model=card.name))
    small = services.inputs.small(tenant_id(), "image", body.image, SIDE)
    gone = hang_up_check()
    told = answer_of(
        services, card, lambda redis: questions.ask_names(redis, spec, small, body.language, WAIT_SECONDS, gone)
    )
    if told.names is None:
        raise InterpreterUnavailable("The worker that answered does not describe pictures: upgrade it.")
    names = [SeenName(name=name, likeness=round(likeness, 3)) for name, likeness in told.names]
    recognised = [each.name for each in names if each.likeness >= RECOGNISED]
    return PictureNames(model=card.name, prompt=recognised[0] if recognised else None, names=names)


def _card(services: Services, name: str | None) -> ModelCard:
    """The card of the model whose evaluator is asked. Raises InvalidRequest if there is none."""
    catalogue = services.catalogue
    cards = [catalogue.get(name), *(catalogue.cards.values() if name is None else ())]
    able = [card for card in cards if card.text_encoder is not None]
    if not able:
        raise InvalidRequest("model: no evaluator knows the pictures of this model.", field="model")
    return able[0]
