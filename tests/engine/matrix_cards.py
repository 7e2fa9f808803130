"""Cards for `make matrix` that do not allow what a pipeline ignores, as the refusals of a first card ask."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from limner_shared.domain.card_fields import Control, Range
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.registry import load


def loaded(card: ModelCard, cache: Path) -> tuple[ModelCard, Any]:
    """Return the card without what the pipeline ignores, and its generator. Raises CardError if it is refused."""
    for _ in range(6):
        try:
            return card, load(card, Settings(device="cpu", cache_dir=cache))
        except CardError as error:
            changed = _controlled(card, error.message) or _without(card, error.message)
            if changed is None:
                raise
            card = changed
    raise AssertionError("a card was refused for what it does not have")


def _controlled(card: ModelCard, refusal: str) -> ModelCard | None:
    """Return the card with the control that a refusal asks for."""
    control = card.control or Control()
    if "control.interval = false" in refusal:
        control = control.model_copy(update={"interval": False})
    elif "of control.scale to one number" in refusal:
        control = control.model_copy(update={"scale": Range(min=1, max=1, default=1)})
    elif "add [control]" not in refusal:
        return None
    return card.model_copy(update={"control": control})


def _without(card: ModelCard, refusal: str) -> ModelCard | None:
    """Return the card without what a refusal says is ignored."""
    if "set negative_prompts = false" in refusal:
        return card.model_copy(update={"negative_prompts": False})
    if "of guidance to one number" in refusal:
        return _fixed(card, "guidance", card.guidance.default)
    if "of steps to one number" in refusal:
        return _fixed(card, "steps", card.steps.default)
    if found := re.search(r"default of steps to (\d+)", refusal):
        return _fixed(card, "steps", int(found[1]))
    if found := re.search(r"set min of (steps|guidance) to ([\d.]*\d)", refusal):
        limits = getattr(card, found[1]).model_copy(update={"min": float(found[2])})
        return card.model_copy(update={found[1]: limits})
    return None


def _fixed(card: ModelCard, field: str, number: float) -> ModelCard:
    limits = getattr(card, field).model_copy(update={"min": number, "max": number, "default": number})
    return card.model_copy(update={field: limits})
