"""The pictures of an earlier message of a conversation, from which later messages go on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobRequest, JobSpec


@dataclass(frozen=True, slots=True)
class EarlierPictures:
    """The job of an earlier message that was given pictures, which are kept."""

    job_id: str
    spec: JobSpec
    from_words: bool = False
    """Whether the new message gives up what the earlier one starts from. It still has its other pictures."""
    with_mask: bool = False
    """Whether the new message has the earlier mask as well: one that takes the place of the earlier one."""

    def complete(self, request: JobRequest, card: ModelCard) -> JobRequest:
        """Return a request with the pictures that it lacks and its model takes."""
        pictures = self._start(request, card) | self._control(request, card) | self._references(request, card)
        return request.model_copy(update=pictures)

    def _start(self, request: JobRequest, card: ModelCard) -> dict[str, Any]:
        if self.spec.image is None or request.image is not None or self.from_words:
            return {}
        mask = self._mask(request, card)
        if not mask and request.mask is None and "image-to-image" not in card.tasks:
            return {}
        return {"image": self.job_id, "strength": _first(request.strength, self._strength(request, card))} | mask

    def _mask(self, request: JobRequest, card: ModelCard) -> dict[str, Any]:
        is_wanted = self.with_mask and request.mask is None and "inpainting" in card.tasks
        if self.spec.mask is None or not is_wanted:
            return {}
        padding = request.padding_mask_crop
        if padding is None and card.name == self.spec.model:
            padding = self.spec.padding_mask_crop
        return {"mask": self.job_id, "padding_mask_crop": padding}

    def _strength(self, request: JobRequest, card: ModelCard) -> float | None:
        """The earlier strength, if the model is the same and its steps admit it."""
        steps, strength = request.steps or int(card.steps.default), self.spec.strength
        is_fit = strength is not None and card.name == self.spec.model and int(steps * strength) >= 1
        return strength if is_fit else None

    def _control(self, request: JobRequest, card: ModelCard) -> dict[str, Any]:
        if self.spec.control_image is None or request.control_image is not None or card.control is None:
            return {}
        followed: dict[str, Any] = {"control_image": self.job_id}
        if card.name == self.spec.model:  # another model has other limits
            for field in ("control_scale", "control_start", "control_end"):
                followed[field] = _first(getattr(request, field), getattr(self.spec, field))
        return followed

    def _references(self, request: JobRequest, card: ModelCard) -> dict[str, Any]:
        number = len(self.spec.reference_images)
        if not number or request.reference_images is not None or card.reference is None or number > card.reference.most:
            return {}
        taken: dict[str, Any] = {"reference_images": (self.job_id,) * number}
        if card.name == self.spec.model:
            taken["reference_scale"] = _first(request.reference_scale, self.spec.reference_scale)
        return taken


def _first(wanted: float | None, earlier: float | None) -> float | None:
    return earlier if wanted is None else wanted
