"""Models, versions and deployments as Replicate's clients see them, all made from the model cards.

Each card is a model of the owner `limner` with one version and one deployment. The version's id is a hash of the card.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from limner_shared.adapter_folder import MOST_LISTED
from limner_shared.domain.card_fields import Control, Range
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import MAX_ADAPTER_WEIGHT
from limner_shared.domain.jobs import MAX_SEED
from limner_shared.domain.predictions import OWNER, version_id
from limner_shared.domain.request_limits import DEFAULT_STRENGTH
from limner_shared.errors import NotFound
from limner_web.replicate.sizes import names, ratios
from limner_web.services import Services

UNDATED: Final = "1970-01-01T00:00:00Z"
"""Cards have no date, but clients require one."""
COG_VERSION: Final = "0.16.0"
"""Clients treat an output list of versions before 0.3.9 as a stream."""
HARDWARE: Final = {"sku": "self-hosted", "name": "Self-hosted"}
REFERENCE: Final = re.compile(r"(?P<owner>[^/:]+)/(?P<name>[^/:]+)(?::(?P<version>[^/:]+))?")


def find(services: Services, owner: str, name: str) -> ModelCard:
    """The card of a model or deployment, by its own name or by an alias with an owner. Raises NotFound."""
    cards = services.catalogue.cards
    card = cards.get(name) if owner == OWNER else services.model_names.aliases.get(f"{owner}/{name}")
    if card is None:
        known = ", ".join(f"{OWNER}/{each}" for each in cards)
        raise NotFound(f"There is no model {owner}/{name}. Models: {known}.")
    return card


def find_version(services: Services, reference: str) -> ModelCard:
    """The card of a version's id, of `owner/name`, or of `owner/name:id`. Raises NotFound.

    An alias leads to its card with any version: a program that has another model's name has its version as well.
    """
    catalogue, named = services.catalogue, REFERENCE.fullmatch(reference)
    if named is not None:
        card = find(services, named["owner"], named["name"])
        is_current = named["owner"] != OWNER or named["version"] in (None, version_id(card))
        found = card if is_current else None
    else:
        own = (card for card in catalogue.cards.values() if version_id(card) == reference)
        found = next(own, services.model_names.aliases.get(reference))
    if found is None:
        raise NotFound(
            f"There is no version {reference[:80]!r}: a model's card has changed or is gone. Use the model's"
            f" name, such as {OWNER}/{catalogue.default}, or its current version."
        )
    return found


def find_model_version(services: Services, owner: str, name: str, version: str) -> ModelCard:
    """The card of a model's version. Raises NotFound.

    `run` of Replicate's client draws by a version's id alone, and looks for it among its model's versions afterwards:
    so an alias of that id is enough for a model elsewhere, and any version of an alias is that of its card.
    """
    alias = None if owner == OWNER else services.model_names.aliases.get(version)
    card = alias or find(services, owner, name)
    if owner == OWNER and version != version_id(card):
        raise NotFound(f"{owner}/{name} has no version {version[:80]!r}; its version is {version_id(card)}.")
    return card


def is_about(card: ModelCard, words: Sequence[str]) -> bool:
    """Whether a card's name, title or description has every one of these words, in lower case."""
    text = f"{OWNER}/{card.name} {card.title} {card.description}".casefold()
    return all(word in text for word in words)


def collections(services: Services) -> dict[str, list[ModelCard]]:
    """The tasks that models here have, each with its models."""
    found: dict[str, list[ModelCard]] = {}
    for card in services.catalogue.cards.values():
        for task in card.tasks:
            found.setdefault(task, []).append(card)
    return found


def collection_object(task: str) -> dict[str, Any]:
    """A collection, without its models."""
    return {"name": task.capitalize(), "slug": task, "description": f"Models of this service with the task {task}."}


def model_object(services: Services, card: ModelCard, origin: str) -> dict[str, Any]:
    """A model."""
    return {
        "url": f"{origin}/",
        "owner": OWNER,
        "name": card.name,
        "description": card.description or card.title,
        "visibility": "private",
        "github_url": None,
        "paper_url": None,
        "license_url": None,
        "run_count": 0,
        "cover_image_url": None,
        "default_example": None,
        "latest_version": version_object(services, card),
    }


def version_object(services: Services, card: ModelCard) -> dict[str, Any]:
    """The version of a model."""
    schemas = {"Input": _input_schema(card, services.adapter_folders.names(card)), "Output": _output_schema()}
    document = {
        "openapi": "3.1.0",
        "info": {"title": card.title, "version": version_id(card)},
        "paths": {},
        "components": {"schemas": schemas},
    }
    return {
        "id": version_id(card),
        "created_at": UNDATED,
        "cog_version": COG_VERSION,
        "openapi_schema": document,
    }


def deployment_object(card: ModelCard) -> dict[str, Any]:
    """The deployment of a model."""
    account = {"type": "organization", "username": OWNER, "name": "Limner", "github_url": None}
    release = {
        "number": 1,
        "model": f"{OWNER}/{card.name}",
        "version": version_id(card),
        "created_at": UNDATED,
        "created_by": account,
        "configuration": {"hardware": HARDWARE["sku"], "min_instances": 1, "max_instances": 1},
    }
    return {"owner": OWNER, "name": card.name, "current_release": release}


def _output_schema() -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "format": "uri"}, "title": "Output"}


def _input_schema(card: ModelCard, adapters: Sequence[str]) -> dict[str, Any]:
    widths, heights = (sorted({size[axis] for size in card.sizes}) for axis in (0, 1))
    properties: dict[str, dict[str, Any]] = {
        "prompt": {"type": "string", "maxLength": card.max_prompt_chars, "description": "What the picture shows."},
        "width": {"type": "integer", "enum": widths, "default": card.sizes[0][0]},
        "height": {"type": "integer", "enum": heights, "default": card.sizes[0][1]},
        "num_outputs": {"type": "integer", "minimum": 1, "maximum": card.max_images, "default": 1},
        "num_inference_steps": {"type": "integer"} | _bounds(card.steps, int),
        "guidance_scale": {"type": "number"} | _bounds(card.guidance, float),
        "seed": {"type": "integer", "minimum": 0, "maximum": MAX_SEED, "description": "Default: random."},
    }
    properties |= {
        "aspect_ratio": {"type": "string", "enum": ratios(card), "description": "Instead of width and height."},
        "megapixels": {"type": "string", "description": "With aspect_ratio or instead of it, such as 0.25."},
        "size": {"type": "string", "enum": names(card), "description": "Instead of width and height."},
        "output_format": {"type": "string", "enum": ["png", "jpg", "webp"], "default": "png"},
        "output_quality": {"type": "integer", "minimum": 0, "maximum": 100, "description": "Of JPEG and WebP."},
    }
    if card.takes_negative_prompts:
        properties["negative_prompt"] = {"type": "string", "maxLength": card.max_prompt_chars, "default": ""}
    for name, choices in (("style", card.styles), ("scheduler", card.schedulers)):
        if choices:
            properties[name] = {"type": "string", "enum": list(choices)}
    properties |= _picture_schema(card) | _adapter_schema(adapters)
    for place, (name, schema) in enumerate(properties.items()):
        schema |= {"title": name.replace("_", " ").capitalize(), "x-order": place}
    required = ["prompt"] if card.control is None else ["prompt", "control_image"]
    return {"type": "object", "title": "Input", "required": required, "properties": properties}


def _picture_schema(card: ModelCard) -> dict[str, dict[str, Any]]:
    """The input pictures that a model takes, and what is said of them."""
    properties: dict[str, dict[str, Any]] = {}
    uri = {"type": "string", "format": "uri"}
    if {"image-to-image", "inpainting"} & set(card.tasks):
        strength = {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": DEFAULT_STRENGTH}
        properties |= {"image": dict(uri), "prompt_strength": strength}
    if "inpainting" in card.tasks:
        properties["mask"] = dict(uri)
        if card.takes_mask_crops:
            around = "Draw only the mask and this many pixels around it, in full size. Default: the whole picture."
            properties["padding_mask_crop"] = {"type": "integer", "minimum": 0, "description": around}
    if card.control is not None:
        properties |= {"control_image": dict(uri)} | _control_schema(card.control)
    if card.reference is not None:
        pictures = {"type": "array", "items": dict(uri), "maxItems": card.reference.most}
        properties |= {"reference_images": pictures | {"description": "Whose subject or style the picture takes."}}
        properties |= {"reference_scale": {"type": "number"} | _bounds(card.reference.scale, float)}
    return properties


def _adapter_schema(adapters: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The adapters of a model by name; a list that may not be complete allows any name."""
    if not adapters:
        return {}
    limits = {"type": "number", "minimum": -MAX_ADAPTER_WEIGHT, "maximum": MAX_ADAPTER_WEIGHT, "default": 1}
    name = {"type": "string"} | ({"enum": list(adapters)} if len(adapters) < MOST_LISTED else {})
    first = {"lora_weights": name | {"description": "An adapter of the model."}, "lora_scale": dict(limits)}
    return first | {"extra_lora": name | {"description": "Another one."}, "extra_lora_scale": dict(limits)}


def _control_schema(control: Control) -> dict[str, dict[str, Any]]:
    properties = {"controlnet_conditioning_scale": {"type": "number"} | _bounds(control.scale, float)}
    if control.interval:
        part = {"type": "number", "minimum": 0, "maximum": 1}
        properties |= {"control_guidance_start": part | {"default": 0}, "control_guidance_end": part | {"default": 1}}
    return properties


def _bounds(limits: Range, kind: type[int | float]) -> dict[str, float]:
    return {"minimum": kind(limits.min), "maximum": kind(limits.max), "default": kind(limits.default)}
