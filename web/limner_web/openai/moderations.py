"""Moderations in OpenAI's form: judges texts by rules, and pictures by the classifier of the safety stage.

A category that nothing here judges is false with the score 0. `category_applied_input_types` names what a score
comes from: a text that has the category, or a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, Literal

from apiflask import APIBlueprint
from flask import Response, jsonify, request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from limner_shared.domain.ids import new_id
from limner_shared.domain.request_limits import refuse
from limner_web.auth import tenant_id
from limner_web.pictures.input_images import read_data_url, size_of
from limner_web.services import Services, get_services

bp = APIBlueprint("openai_moderations", __name__, url_prefix="/v1/moderations", enable_openapi=False)

MODEL: Final = "limner-moderation"
CATEGORIES: Final = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/instructions", "self-harm/intent"),
    *("sexual", "sexual/minors", "violence", "violence/graphic"),
)
OF_PICTURES: Final = "sexual"
"""The only category that the classifier of pictures knows."""
MAX_INPUTS: Final = 32

Text = Annotated[str, StringConstraints(max_length=100_000)]


class TextPart(BaseModel):
    """A text among inputs of several kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["text"]
    text: Text


class ImageUrl(BaseModel):
    """Where an image is."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    url: str


class ImagePart(BaseModel):
    """An image among inputs of several kinds."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["image_url"]
    image_url: ImageUrl


Part = Annotated[TextPart | ImagePart, Field(discriminator="type")]


class ModerationRequest(BaseModel):
    """The body of a call."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    input: Text | list[Text] | list[Part]
    model: str | None = Field(default=None, max_length=200)
    """Any name is accepted: there is one judge, whose name is in the answer."""


@bp.post("")
def create_moderation() -> Response:
    """Judge texts, each by itself, or texts and images together."""
    services, tenant = get_services(), tenant_id()
    asked = ModerationRequest.model_validate(request.get_json())
    given = [asked.input] if isinstance(asked.input, str) else asked.input
    if not 1 <= len(given) <= MAX_INPUTS:
        raise refuse("input", f"{len(given)} inputs", f"1 to {MAX_INPUTS}")
    texts = [each for each in given if isinstance(each, str)]
    parts = [each for each in given if not isinstance(each, str)]
    results = [_result(services.moderation.categories(tenant, text)) for text in texts]
    if parts:
        results.append(_together(services, tenant, parts))
    return jsonify({"id": new_id("modr"), "model": MODEL, "results": results})


def _together(services: Services, tenant: str, parts: Sequence[TextPart | ImagePart]) -> dict[str, Any]:
    """One result for inputs of several kinds, as OpenAI gives it."""
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    pictures = [_picture(services, tenant, part.image_url.url) for part in parts if isinstance(part, ImagePart)]
    found = services.moderation.categories(tenant, "\n".join(texts))
    highest = max((services.moderation.score(tenant, picture) for picture in pictures), default=None)
    return _result(found, highest, flagged=highest is not None and services.moderation.flags(highest))


def _picture(services: Services, tenant: str, url: str) -> bytes:
    data = read_data_url(url, "input")
    if data is None:
        raise refuse("input", "an image by its address", "a data URL: data:image/png;base64,… (or jpeg, webp)")
    services.pillow.call_for(tenant, size_of, data, "input")  # raises InvalidRequest for what is no image, or too large
    return data


def _result(found: set[str], score: float | None = None, *, flagged: bool = False) -> dict[str, Any]:
    """A result from the categories of the texts, and the highest score of the pictures, None without any.

    A category of the operator's own flags it too, and is named in `limner_categories`.
    """
    values = {name: float(name in found) for name in CATEGORIES}
    applied: dict[str, list[str]] = {name: ["text"] if name in found else [] for name in CATEGORIES}
    if score is not None:
        values[OF_PICTURES] = max(score, values[OF_PICTURES])
        applied[OF_PICTURES].append("image")
    if flagged:
        found = found | {OF_PICTURES}
    return {
        "flagged": bool(found),
        "categories": {name: name in found for name in CATEGORIES},
        "category_scores": values,
        "category_applied_input_types": applied,
        "limner_categories": sorted(found - set(CATEGORIES)),
    }
