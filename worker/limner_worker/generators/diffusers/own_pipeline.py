"""An image's own copy of a pipeline, which shares the modules and copies everything that has state."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin


class PipelineTemplate:
    """A loaded pipeline from which each image takes a copy.

    What equals in all copies is determined once, after the modules were placed: the pipeline's parameters, and the
    device of its tensors, for which diffusers searches all modules whenever it is asked (14 ms for SDXL).
    """

    def __init__(self, pipeline: Any) -> None:
        self._pipeline = pipeline
        self._devices: dict[int, torch.device] = {id(each): each._execution_device for each in _parts(pipeline)}  # noqa: SLF001
        self.parameters = frozenset(inspect.signature(pipeline.__call__).parameters)
        """The names of the arguments of the pipeline's call."""

    def own(self, scheduler: Any) -> Any:
        """Return a copy that uses `scheduler`; other schedulers, guiders and inner pipelines are copied too."""
        return self._copy(self._pipeline, {id(getattr(self._pipeline, "scheduler", None)): scheduler})

    def _copy(self, pipeline: Any, copies: dict[int, Any]) -> Any:
        """`copies` holds earlier copies by the original's identity: parts of a combined pipeline share schedulers."""
        mine: Any = copy.copy(pipeline)
        mine.__class__ = _with_known_device(type(pipeline))
        for name, value in vars(pipeline).items():
            if id(value) not in copies:
                if isinstance(value, DiffusionPipeline):
                    copies[id(value)] = self._copy(value, copies)
                elif isinstance(value, (SchedulerMixin, BaseGuidance)):
                    copies[id(value)] = copy.deepcopy(value)
            if id(value) in copies:
                vars(mine)[name] = copies[id(value)]  # setattr would also write it into the configuration
        vars(mine)["_execution_device"] = self._devices[id(pipeline)]
        mine.maybe_free_model_hooks = lambda: None  # all images share the modules, so none may move them
        return mine


def _parts(pipeline: Any) -> Iterator[Any]:
    """Yield the pipeline and its inner pipelines."""
    yield pipeline
    for value in vars(pipeline).values():
        if isinstance(value, DiffusionPipeline):
            yield from _parts(value)


@functools.cache
def _with_known_device(kind: type[Any]) -> type[Any]:
    """Return a subclass in which an instance's `_execution_device` is an attribute instead of a search."""
    return type(
        kind.__name__,
        (kind,),
        {"_execution_device": None, "__module__": kind.__module__, "__qualname__": kind.__qualname__},
    )
