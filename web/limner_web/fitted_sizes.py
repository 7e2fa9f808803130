"""Sizes that a model lacks: the nearest one is drawn, and the picture is scaled to the size that was asked for."""

from __future__ import annotations

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.picture_urls import MAX_SIDE
from limner_shared.domain.request_limits import nearest_size

Size = tuple[int, int]


def fitted(card: ModelCard, size: Size) -> tuple[Size, Size | None]:
    """The size that is drawn, and the one to which the picture is scaled.

    A size that the card has is drawn as it is, and so is one that is too large to scale to, which the card refuses.
    """
    if size in card.sizes or min(size) < 1 or max(size) > MAX_SIDE:
        return size, None
    return nearest_size(card.sizes, *size), size


def warning(fit: Size | None) -> str | None:
    """What to tell a client of a picture that was scaled, if it was."""
    return None if fit is None else "size {}x{} is not drawn here; the picture was scaled to it".format(*fit)
