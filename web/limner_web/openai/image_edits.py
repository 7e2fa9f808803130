"""Reads edits and variations: calls of OpenAI's image API that start from an image."""

from __future__ import annotations

from typing import Any

from limner_shared.domain.request_limits import refuse
from limner_web.openai.image_inputs import earlier_prompt, read_inputs
from limner_web.openai.image_order import ImageOrder, read_order
from limner_web.services import Services


def read_edit(services: Services, tenant_id: str, fields: dict[str, Any]) -> ImageOrder:
    """Read an edit's parameters. Raises InvalidRequest, which names one, or ModelNotFound."""
    given, size = read_inputs(services, tenant_id, fields)
    return read_order(given, services.model_names, is_edit=True, image_size=size)


def read_variation(services: Services, tenant_id: str, fields: dict[str, Any]) -> ImageOrder:
    """Read a variation's parameters: an edit along the image's own prompt, if this service has made it, or a given one.

    Raises what `read_edit` raises.
    """
    given, size = read_inputs(services, tenant_id, fields)
    if given.get("prompt") is None:
        given = earlier_prompt(services, tenant_id, given.get("image") or given["reference_images"][0]) | given
    if given.get("prompt") is None:
        raise refuse("prompt", "a variation without a prompt", "a picture of this service, or a prompt in extra_body")
    return read_order(given, services.model_names, is_edit=True, image_size=size)
