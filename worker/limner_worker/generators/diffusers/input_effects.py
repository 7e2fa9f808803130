"""The check at load that what a card lets requests give changes the picture.

Some pipelines take an input and ignore it: UniDiffuser the picture beside a prompt, and negative prompts at all. Their
signatures do not show it, so each input is changed alone, and the picture compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from limner_shared.domain.inputs import INPUT_FIELDS
from limner_shared.errors import CardError
from limner_shared.telemetry import get_logger
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline

log = get_logger(__name__)

REMEDIES: Final = {"control_image": "load the weights without a control network, and remove control"}
OTHER_TEXT: Final = "a green field under dark clouds"


@dataclass(frozen=True, slots=True)
class InputEffects:
    """Which inputs change the pictures that a pipeline draws for a task."""

    generator: DiffusersPipeline
    task: ImageTask
    """A request of the task."""
    drawn: NDArray[np.float32]
    """What the pipeline draws for it."""

    def check(self) -> None:
        """Raise CardError with what to change in the card if an input that it allows has no effect."""
        for what, remedy in chain(self._ignored_pictures(), self._ignored_guidance()):
            name = type(self.generator.pipeline).__name__
            raise CardError(f"{self.generator.card.name}: {name} ignores {what}: {remedy}")

    def _ignored_pictures(self) -> Iterator[tuple[str, str]]:
        """Yield what is ignored, and the change to the card."""
        kind = self.task.spec.task
        for name in INPUT_FIELDS:
            if getattr(self.task, name) is None:
                continue
            if self._same(replace(self.task, **{name: 255 - getattr(self.task, name)})):
                yield f"the {name} of {kind}", REMEDIES.get(name, f"leave {kind} out of tasks")
        others = tuple(255 - each for each in self.task.reference_images)
        if others and self._same(replace(self.task, reference_images=others)):
            yield f"the reference_images of {kind}", "remove reference from the card"

    def _ignored_guidance(self) -> Iterator[tuple[str, str]]:
        card = self.generator.card
        if self._same(self._with(prompt=OTHER_TEXT)):
            # Then guidance and negative prompts have no effect either, whatever the pipeline does with them.
            log.warning("the prompt does not change the picture", model=card.name, task=self.task.spec.task)
            return
        limits = card.guidance
        strongest = self._draw(self._with(guidance=limits.max))
        if limits.min < limits.max and np.array_equal(self._draw(self._with(guidance=limits.min)), strongest):
            yield "guidance", "set min, max and default of guidance to one number"
        if card.takes_negative_prompts:
            other = self._draw(self._with(guidance=limits.max, negative_prompt=OTHER_TEXT))
            if np.array_equal(other, strongest):
                yield "negative prompts", "set negative_prompts = false"

    def _with(self, **changes: Any) -> ImageTask:
        return replace(self.task, spec=self.task.spec.model_copy(update=changes))

    def _draw(self, task: ImageTask) -> NDArray[np.float32]:
        return self.generator.draw_alone(task)

    def _same(self, task: ImageTask) -> bool:
        return np.array_equal(self._draw(task), self.drawn)
