"""Texts of compatible APIs that are longer than a model reads: they are cut as descriptions are, with a warning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.conditions import cut

MOST_CHARS: Final = 32_000
"""OpenAI's limit of a prompt. A longer text is refused as by the native API."""
TEXTS: Final = ("prompt", "negative_prompt")


def within_card(
    fields: Mapping[str, Any], card: ModelCard, called: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Return a job request's fields with each text cut to the card's limit, and a warning for each that was cut.

    `called` has the client's names of the fields. Programs take prompts from language models, which know no limit.
    """
    changed, most = dict(fields), card.max_prompt_chars
    for name in TEXTS:
        text = fields.get(name)
        if isinstance(text, str) and most < len(text) <= MOST_CHARS:
            changed[name] = cut(text, most)
    told = [
        f"{(called or {}).get(name, name)}: {card.name} reads at most {most} characters, so of {len(fields[name])} the"
        f" first {len(changed[name])} were used"
        for name in TEXTS
        if changed.get(name) != fields.get(name)
    ]
    return changed, told
