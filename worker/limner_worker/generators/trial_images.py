"""Small images that every model must be able to draw, by which it is checked: at load, and after failures of unknown
cause.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import Task
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.request_limits import DEFAULT_STRENGTH
from limner_worker.generators.base import ImageTask
from limner_worker.generators.needed_pictures import needed

PROMPTS: Final = ("a red apple", "two blue boats on a quiet sea")
STEPS: Final = 2


def trial_size(card: ModelCard) -> tuple[int, int]:
    """The smallest size, or one of up to twice its area that is not square: that shows whether sides are swapped."""
    smallest = min(width * height for width, height in card.sizes)
    small = [size for size in card.sizes if size[0] * size[1] <= 2 * smallest]
    return min(small, key=lambda size: (size[0] == size[1], size[0] * size[1]))


def trial_tasks(card: ModelCard, task: Task, *, scheduler: str | None = None, steps: int = 0) -> list[ImageTask]:
    """Two images of a task, with the pictures that it needs."""
    width, height = trial_size(card)
    steps = steps or int(min(max(STEPS, card.steps.min), card.steps.max))
    noise, fields = np.random.default_rng(0), needed(task, card)
    tasks: list[ImageTask] = []
    for seed, prompt in enumerate(PROMPTS):
        spec = JobSpec(
            prompt=prompt, model=card.name, width=width, height=height, steps=steps, seed=seed,
            guidance=card.guidance.default, scheduler=scheduler, style=next(iter(card.styles), None),
            strength=None if task == "text-to-image" else max(DEFAULT_STRENGTH, 1 / steps),
            **dict.fromkeys(fields, "0" * 64), **_control(card, seed), **_reference(card),
        )  # fmt: skip
        pictures: dict[str, Any] = {field: noise.integers(0, 255, (height, width, 3), np.uint8) for field in fields}
        if "mask" in fields:
            pictures["mask"] = np.zeros((height, width, 3), np.uint8)
            pictures["mask"][:, width // 2 :] = 255
        if card.reference is not None:
            several = 1 if card.reference.adapter is not None else min(2, card.reference.most)
            drawn = (noise.integers(0, 255, (height, width, 3), np.uint8) for _ in range(several))
            pictures["reference_images"] = tuple(drawn)
        tasks.append(ImageTask(spec, seed, **pictures))
    return tasks


def _reference(card: ModelCard) -> dict[str, Any]:
    if card.reference is None:
        return {}
    scale = card.reference.scale
    return {"reference_images": ("0" * 64,), "reference_scale": scale.default or scale.max}


def _control(card: ModelCard, number: int) -> dict[str, Any]:
    """How an image follows its control picture: each in its own way."""
    if card.control is None:
        return {}
    scale = card.control.scale
    scales = (scale.default or scale.max, (scale.min + scale.max) / 2)
    return {"control_scale": scales[number], "control_end": 0.5 if card.control.interval and number else 1.0}
