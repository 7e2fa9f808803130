"""An image's own copy of a pipeline: the same modules, and its own of everything that remembers something."""

from __future__ import annotations

import copy
from typing import Any

from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin


def own_pipeline(pipeline: DiffusionPipeline, scheduler: Any) -> Any:
    """A copy that uses `scheduler`; its other schedulers and its guiders are copies too, as are pipelines within it."""
    return _copy(pipeline, {id(getattr(pipeline, "scheduler", None)): scheduler})


def _copy(pipeline: DiffusionPipeline, copies: dict[int, Any]) -> Any:
    """`copies`: what was copied already, by the original's identity: parts of a combined pipeline share schedulers."""
    mine: Any = copy.copy(pipeline)
    for name, value in vars(pipeline).items():
        if id(value) not in copies:
            if isinstance(value, DiffusionPipeline):
                copies[id(value)] = _copy(value, copies)
            elif isinstance(value, SchedulerMixin):
                copies[id(value)] = type(value).from_config(value.config)  # type: ignore[attr-defined]
            elif isinstance(value, BaseGuidance):
                copies[id(value)] = copy.deepcopy(value)
        if id(value) in copies:
            vars(mine)[name] = copies[id(value)]  # not by setattr, which writes it into the configuration too
    mine.maybe_free_model_hooks = lambda: None  # the modules belong to all images: they stay where they are
    return mine
