"""The pictures that each request of a card gives."""

from __future__ import annotations

from typing import Final

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import Task

NEEDED: Final[dict[Task, tuple[str, ...]]] = {
    "text-to-image": (),
    "image-to-image": ("image",),
    "inpainting": ("image", "mask"),
}
"""The pictures that each task needs."""


def needed(task: Task, card: ModelCard) -> tuple[str, ...]:
    """Return the fields of the pictures that each request for a task gives."""
    return NEEDED[task] if card.control is None else (*NEEDED[task], "control_image")
