"""Request fields that a loaded model does not support and its card does not exclude. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict

from limner_shared.domain.inputs import Task
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.request_limits import DEFAULT_STRENGTH

FULL_STRENGTH: Final = 1.0
OWN: Final = ""
"""The name of a model's own scheduler."""


class Refusal(NamedTuple):
    """A field that a model does not take, and what was asked for."""

    field: str
    got: str


class UnsupportedByModel(BaseModel):
    """What a model does not take, as the worker that has loaded it found."""

    model_config = ConfigDict(frozen=True)

    fields: dict[Task, tuple[str, ...]] = {}
    """The optional fields that the pipeline of each task has no argument for."""
    steps: dict[str, tuple[tuple[int, int], ...]] = {}
    """The numbers of steps that each scheduler refuses, as ranges with both ends."""

    def refusal(self, spec: JobSpec) -> Refusal | None:
        """Return what of a request the model does not take; None if it takes all."""
        for field in unsupported_fields(spec, self.fields.get(spec.task, ())):
            return Refusal(field, f"{field} with {spec.model}")
        ranges = self.steps.get(spec.scheduler or OWN, ())
        if any(first <= spec.steps <= last for first, last in ranges):
            return Refusal("steps", f"{spec.steps} with {spec.scheduler or 'the own scheduler'} of {spec.model}")
        return None


def unsupported_fields(spec: JobSpec, missing: Collection[str]) -> list[str]:
    """Return those of the missing fields that a request asks something of. Every job that starts from a picture has a
    strength: its default asks for nothing.
    """
    strength = spec.strength not in (None, DEFAULT_STRENGTH, FULL_STRENGTH)
    crops = spec.padding_mask_crop is not None
    asked = {"guidance_rescale": spec.guidance_rescale > 0, "strength": strength, "padding_mask_crop": crops}
    return [field for field, is_asked in asked.items() if is_asked and field in missing]


def ranges_of(numbers: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return ascending numbers as ranges with both ends."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and found[-1][1] == number - 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return tuple(found)
