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
from limner_worker.generators import device_faults
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.diffusers.pipeline_checks import explain

log = get_logger(__name__)

REMEDIES: Final = {"control_image": "load the weights without a control network, and remove control"}
LEAST: Final = (1.0, 1.01)
"""Numbers from which pipelines evaluate guidance: 1, or more."""
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
        weakest = self._weakest()
        for what, remedy in chain(self._ignored_pictures(), self._ignored_guidance(weakest)):
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

    def _weakest(self) -> NDArray[np.float32] | None:
        """Return the picture with the least guidance that the card allows, with which some pipelines fail; None if it
        allows one number only.
        """
        limits = self.generator.card.guidance
        if limits.min == limits.max:
            return None
        try:
            return self._draw(self._with(guidance=limits.min))
        except Exception as error:
            device_faults.reraise(error)
            more = next((each for each in LEAST if limits.min < each <= limits.max and self._works(each)), None)
            remedy = "raise min of guidance" if more is None else f"set min of guidance to {more:g}"
            name, reason = type(self.generator.pipeline).__name__, explain(error)
            failed = f"{self.generator.card.name}: {name} fails with a guidance of {limits.min:g}"
            raise CardError(f"{failed} ({reason}): {remedy}") from error

    def _works(self, guidance: float) -> bool:
        try:
            self._draw(self._with(guidance=guidance))
        except Exception as error:  # noqa: BLE001 - a pipeline may raise anything
            device_faults.reraise(error)
            return False
        return True

    def _ignored_guidance(self, weakest: NDArray[np.float32] | None) -> Iterator[tuple[str, str]]:
        card = self.generator.card
        if self._same(self._with(prompt=OTHER_TEXT)):
            # Then guidance and negative prompts have no effect either, whatever the pipeline does with them.
            log.warning("the prompt does not change the picture", model=card.name, task=self.task.spec.task)
            return
        limits = card.guidance
        strongest = self._draw(self._with(guidance=limits.max))
        if weakest is not None and np.array_equal(weakest, strongest):
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
