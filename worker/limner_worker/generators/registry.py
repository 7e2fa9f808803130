"""Which family loads a card's model. Imports torch only for a card whose family needs it."""

from __future__ import annotations

from limner_shared.domain.cards import ModelCard
from limner_shared.settings import Settings
from limner_worker.generators.base import Generator
from limner_worker.generators.null import Null


def load(card: ModelCard, settings: Settings) -> Generator:
    """Load one model. Raises CardError."""
    if card.family == "null":
        return Null(card)
    from limner_worker.generators import neural  # noqa: PLC0415 - torch takes seconds, and memory

    return neural.load(card, settings)
