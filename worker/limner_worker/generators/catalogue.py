"""The loading of all the models that a worker is to serve. Imports torch only for a card whose family needs it."""

from __future__ import annotations

from collections.abc import Iterable

from limner_shared.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_worker.generators.base import Generator
from limner_worker.generators.null import Null

log = get_logger(__name__)


def load_generators(cards: Iterable[ModelCard], settings: Settings) -> dict[str, Generator]:
    """Load each card's model; one that cannot be loaded is reported and left out.

    Raises CardError if none can be loaded.
    """
    loaded: dict[str, Generator] = {}
    for card in cards:
        try:
            loaded[card.name] = load(card, settings)
        except CardError as error:
            log.error("model left out", model=card.name, reason=error.message)
        else:
            log.info("model loaded", model=card.name)
    if not loaded:
        raise CardError("No model could be loaded, so this worker has nothing to do; the reasons are in the log above.")
    return loaded


def load(card: ModelCard, settings: Settings) -> Generator:
    """Load one model. Raises CardError."""
    if card.family == "null":
        return Null(card)
    from limner_worker.generators import neural  # noqa: PLC0415 - torch takes seconds, and memory

    return neural.load(card, settings)
