"""What a model card allows a request: the checks, and the error for what it does not allow. No I/O."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from limner_shared.domain.card_fields import Control, Range, Reference
from limner_shared.domain.inputs import CONTROL_FIELDS, Adapter, Task, task_of
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import InvalidRequest, NegativePromptUnsupported

MAX_SHOWN: Final = 1e15
DEFAULT_STRENGTH: Final = 0.8


def nearest_size(sizes: Sequence[tuple[int, int]], width: float, height: float) -> tuple[int, int]:
    """The size whose aspect ratio is nearest to `width` : `height`, and of several the one nearest in area."""

    def distance(size: tuple[int, int]) -> tuple[float, float]:
        ratio = math.log(size[0] / size[1]) - math.log(width / height)
        return round(abs(ratio), 6), abs(math.log(size[0] * size[1]) - math.log(width * height))

    return min(sizes, key=distance)


def shown(value: float) -> str:
    """A number as errors show it. An integer may be too large to be formatted as a double."""
    return f"{value:g}" if abs(value) < MAX_SHOWN else "this number"


def refuse(field: str, got: str, allowed: str | list[str]) -> InvalidRequest:
    """The error for a value that a card does not allow; the caller raises it."""
    choices = allowed if isinstance(allowed, str) else ", ".join(allowed)
    return InvalidRequest(f"{field}: {got} is not allowed here; allowed: {choices}.", field=field, allowed=allowed)


def within(field: str, value: float | None, limits: Range) -> float:
    """A requested number, by default the card's. Raises InvalidRequest."""
    if value is None:
        return limits.default
    if not limits.min <= value <= limits.max:
        raise refuse(field, shown(value), str(limits))
    return value


def find_size(request: JobRequest, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The requested size, by default the first. Raises InvalidRequest."""
    by_name = {f"{width}x{height}": (width, height) for width, height in sizes}
    width, height = request.width, request.height
    if request.size is not None:
        if width is not None or height is not None:
            raise refuse("size", "size beside width and height", "one of the two")
        if request.size not in by_name:
            raise refuse("size", repr(request.size), list(by_name))
        return by_name[request.size]
    for size in sizes:
        if width in (size[0], None) and height in (size[1], None):
            return size
    if width is None or height is None:
        name, value = ("height", height) if width is None else ("width", width)
        raise refuse(name, f"a {name} of {value}", list(by_name))
    raise refuse("width", f"{width}x{height}", list(by_name))


def candidate_count(request: JobRequest, model: str, offered: int) -> int:
    """How many are drawn for each picture, of which one is kept. Raises InvalidRequest for a model without that."""
    if request.quality == "best" and offered == 1:
        raise refuse("quality", f"best with {model}, which has no evaluator to choose by,", ["standard"])
    return offered if request.quality == "best" else 1


def negative_prompt_error(model: str, *, guided: bool) -> NegativePromptUnsupported:
    """The error for a negative prompt that would have no effect."""
    reason = "cannot leave things out" if guided else "has no guidance"
    message = f"negative_prompt: a negative prompt is not allowed here: {model} {reason}. Leave it out."
    return NegativePromptUnsupported(message, field="negative_prompt", allowed="none")


def spec_version(request: JobRequest, drawn: int, *, weighted: bool) -> Literal[1, 2, 3]:
    """The version of the spec of a request, of which `drawn` candidates are drawn for each image."""
    newest = (request.control_image, request.reference_images, request.padding_mask_crop)
    return 3 if weighted or any(value is not None for value in newest) else 2 if drawn > 1 else 1


def requested_adapters(asked: tuple[Adapter, ...], known: Collection[str], folder: Path | None) -> tuple[Adapter, ...]:
    """The requested adapters, by name. Raises InvalidRequest for one that the card does not have, or that is double.

    What the card's folder has is known where it is read, so any name passes here if there is one.
    """
    for adapter in asked:
        if folder is None and adapter.name not in known:
            raise refuse("adapters", repr(adapter.name), list(known) or "none: this model has none")
    if len({adapter.name for adapter in asked}) < len(asked):
        raise refuse("adapters", "the same name twice", "each adapter once")
    return tuple(sorted(asked, key=lambda adapter: adapter.name))


def guidance_rescale(request: JobRequest, family: str) -> float:
    """The rescaling of the guidance, which the built-in families do not have. Raises InvalidRequest."""
    asked = request.guidance_rescale or 0.0
    if asked and family != "diffusers":
        raise refuse("guidance_rescale", shown(asked), "0: this model has none")
    return asked


def requested_inputs(request: JobRequest, model: str, family: str, tasks: Sequence[Task], steps: int) -> dict[str, Any]:
    """The input pictures, as the client named them until they are stored, and their use. Raises InvalidRequest."""
    crop = _requested_crop(request, model, family)
    task = task_of(request.image, request.mask)
    if task is None:
        raise refuse("mask", "a mask without an image", "image and mask, or neither")
    if task not in tasks:
        field = "mask" if request.mask else "image"
        raise refuse(field, f"{task} with {model}", list(tasks))
    if request.strength is not None and request.image is None:
        raise refuse("strength", "strength without an image", "strength only with image")
    if request.image is None:
        return {}
    strength = DEFAULT_STRENGTH if request.strength is None else request.strength
    if int(steps * strength) < 1:
        raise refuse("strength", f"{strength:g} with {steps} steps", "strength × steps of at least 1")
    return {"image": request.image, "mask": request.mask, "strength": strength} | crop


def _requested_crop(request: JobRequest, model: str, family: str) -> dict[str, Any]:
    """How much around the mask is drawn, enlarged. Raises InvalidRequest without a mask, or for a built-in family."""
    if request.padding_mask_crop is None:
        return {}
    if family != "diffusers":
        raise refuse("padding_mask_crop", f"padding_mask_crop with {model}", "none: this model has none")
    if request.mask is None:
        raise refuse("padding_mask_crop", "padding_mask_crop without a mask", "padding_mask_crop only with mask")
    return {"padding_mask_crop": request.padding_mask_crop}


def requested_references(request: JobRequest, model: str, rule: Reference | None) -> dict[str, Any]:
    """The reference pictures, as the client named them until they are stored, and their use. Raises InvalidRequest."""
    given = request.reference_images or ()
    if not given and request.reference_scale is None:
        return {}
    if rule is None:
        field = "reference_images" if given else "reference_scale"
        raise refuse(field, f"{field} with {model}", "none: this model takes no reference pictures")
    if not given:
        raise refuse("reference_scale", "reference_scale without reference_images", "both, or neither")
    if len(given) > rule.most:
        raise refuse("reference_images", f"{len(given)} pictures", f"at most {rule.most}")
    return {
        "reference_images": given,
        "reference_scale": within("reference_scale", request.reference_scale, rule.scale),
    }


def placeholders(rule: Control | None) -> dict[str, str]:
    """What stands for the pictures that each request of a model gives, where nothing is drawn."""
    return {} if rule is None else {"control_image": "any"}


def requested_control(request: JobRequest, model: str, rule: Control | None) -> dict[str, Any]:
    """The control picture, as the client named it until it is stored, and its use. Raises InvalidRequest."""
    given = {field: value for field in CONTROL_FIELDS if (value := getattr(request, field)) is not None}
    if rule is None:
        for field in given:
            raise refuse(field, f"{field} with {model}", "none: this model follows no control picture")
        return {}
    if request.control_image is None:
        raise refuse("control_image", f"{model} without a control picture", "one picture, which this model follows")
    start, end = given.get("control_start", 0.0), given.get("control_end", 1.0)
    if not rule.interval and (start, end) != (0.0, 1.0):
        field = "control_start" if start else "control_end"
        raise refuse(field, shown(given[field]), f"none: {model} follows its control picture in all steps")
    if start >= end:
        raise refuse("control_end", f"{shown(end)} after a control_start of {shown(start)}", "more than control_start")
    return given | {"control_scale": within("control_scale", request.control_scale, rule.scale)}
