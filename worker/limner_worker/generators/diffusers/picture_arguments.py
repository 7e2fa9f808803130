"""Which arguments of a pipeline's call take the pictures of a request, and whether they fit what a card allows."""

from __future__ import annotations

import inspect
from typing import Any, Final

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.inputs import Task
from limner_worker.generators.needed_pictures import needed

CONTROLLING: Final = ("controlnet", "adapter")
"""Components that make a pipeline follow a control picture."""
SCALES: Final = ("controlnet_conditioning_scale", "adapter_conditioning_scale")
START: Final = "control_guidance_start"
END: Final = "control_guidance_end"


def picture_arguments(pipeline: Any) -> dict[str, str]:
    """Return the arguments for the pictures of a request, by their fields."""
    takes = inspect.signature(pipeline.__call__).parameters
    if "control_mask" in takes:  # its control network sees the picture that is changed, and there is no other
        names = {"image": "control_image", "mask": "control_mask"}
    elif "control_image" in takes or not any(getattr(pipeline, name, None) is not None for name in CONTROLLING):
        names = {"image": "image", "mask": "mask_image", "control_image": "control_image"}
    else:
        names = {"control_image": "image"}
    return {field: name for field, name in names.items() if name in takes}


def check_control(pipeline: Any, card: ModelCard) -> None:
    """Raise ValueError if the pipeline follows a control picture and the card does not say so, or the reverse."""
    name, follows = type(pipeline).__name__, "control_image" in picture_arguments(pipeline)
    for component in CONTROLLING:
        if "Multi" in type(getattr(pipeline, component, None)).__name__:
            raise ValueError(f"its {component} is several networks, each with a picture of its own: save it with one")
    if follows and card.control is None:
        raise ValueError(f"{name} follows a control picture, which its requests must give: add [control] to the card")
    if card.control is not None and not follows:
        raise ValueError(f"{name} follows no control picture: remove control from the card")


def check_pictures(pipeline: Any, task: Task, card: ModelCard) -> None:
    """Raise ValueError if a task's pipeline takes no argument for a picture that its requests give."""
    for field in needed(task, card):
        if field not in picture_arguments(pipeline):
            raise ValueError(f"{task}: {type(pipeline).__name__} takes no {field}: leave {task} out of tasks")
