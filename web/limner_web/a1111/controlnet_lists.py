"""The lists of A1111's ControlNet extension, which its clients read before they show its fields.

Paths and answers as in sd-webui-controlnet's `scripts/api.py`.
"""

from __future__ import annotations

from typing import Final

from apiflask import APIBlueprint
from flask import Response, jsonify

from limner_shared.domain.cards import ModelCard
from limner_web.a1111 import options
from limner_web.a1111.control_units import NO_PREPROCESSOR, REFERENCE_MODULES
from limner_web.auth import tenant_id
from limner_web.services import get_services

bp = APIBlueprint("a1111_controlnet", __name__, url_prefix="/controlnet", enable_openapi=False)

VERSION: Final = 2
"""The version of the extension's API whose units are understood."""
NO_SLIDERS: Final = {"model_free": False, "sliders": list[object]()}
"""What a preprocessor without parameters says of itself."""


@bp.get("/version")
def get_version() -> Response:
    """Get the version of the extension's API."""
    return jsonify({"version": VERSION})


@bp.get("/settings")
def get_settings() -> Response:
    """Get how many units act at once: the control network's, and one for each reference picture."""
    card = _card()
    units = (card.control is not None) + (0 if card.reference is None else card.reference.most)
    return jsonify({"control_net_unit_count": units})


@bp.get("/model_list")
def list_networks() -> Response:
    """List the current model's own control network and IP-Adapter, by the model's name."""
    card = _card()
    return jsonify({"model_list": [card.name] if card.control or card.reference else []})


@bp.get("/module_list")
def list_modules() -> Response:
    """List what a unit's `module` may be: nothing for a control map, and those of an IP-Adapter."""
    modules = [NO_PREPROCESSOR[0], *(REFERENCE_MODULES if _card().reference else ())]
    return jsonify({"module_list": modules, "module_detail": dict.fromkeys(modules, NO_SLIDERS)})


def _card() -> ModelCard:
    services = get_services()
    return options.current_card(services.hints.redis, tenant_id(), services.catalogue)
