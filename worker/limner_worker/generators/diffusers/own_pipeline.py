"""An image's own copy of a pipeline, which shares the modules and copies everything that has state."""

from __future__ import annotations

import copy
import inspect
from functools import cache, partial
from typing import Any, Final, cast

import torch
from diffusers.configuration_utils import FrozenDict
from diffusers.guiders.guider_utils import BaseGuidance
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

GUIDERS: Final = "diffusers.guiders"
"""The modules of the classes of guiders and of their state."""
UNSEEDED: Final = "latent_dist.sample()"


def own_scheduler(prepared: Any) -> Any:
    """Return a copy of a scheduler or guider that has not been used yet.

    The copies share tables and configuration, which schedulers replace but never change: copying those takes 0.3 ms.
    """
    shared = {id(each): each for each in prepared.__dict__.values() if isinstance(each, (Tensor, FrozenDict))}
    return copy.deepcopy(prepared, shared)


def own_pipeline(pipeline: DiffusionPipeline, scheduler: Any) -> Any:
    """Return a copy that uses `scheduler`; other schedulers, guiders and inner pipelines are copied too."""
    return _copy(pipeline, {id(getattr(pipeline, "scheduler", None)): scheduler})


def stateful_parts(own: Any, scheduler: Any) -> dict[str, Any]:
    """Return by name what has state between the steps of an image: its scheduler, the guiders of its own pipeline, and
    the objects in which these keep their state, such as a momentum.
    """
    parts: dict[str, Any] = {"scheduler": scheduler}
    attributes = cast("dict[str, Any]", vars(own))
    for name, guider in attributes.items():
        if isinstance(guider, BaseGuidance):
            inner = {f"{name}/{attribute}": each for attribute, each in vars(guider).items() if _is_of_guiders(each)}
            parts |= {name: guider, **inner}
    return parts


def _is_of_guiders(value: Any) -> bool:
    return type(value).__module__.startswith(GUIDERS)


class SeededVae:
    """A VAE that draws latents with an image's generator where the pipeline gives it none.

    The seed would not determine them otherwise. Everything else is the VAE's own.
    """

    def __init__(self, vae: Any, generator: torch.Generator) -> None:
        self._vae = vae
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vae, name)

    def encode(self, *args: Any, **kwargs: Any) -> Any:
        """The VAE's encoding, whose samples the generator determines."""
        output = self._vae.encode(*args, **kwargs)
        drawn = output.latent_dist
        drawn.sample = partial(drawn.sample, generator=self._generator)
        return output


def code_of(pipeline: DiffusionPipeline) -> str:
    """The source code of a pipeline and of those within it."""
    inner = [each for each in vars(pipeline).values() if isinstance(each, DiffusionPipeline)]
    return "".join(inspect.getsource(each.__class__) for each in (pipeline, *inner))


@cache
def encodes_unseeded(pipeline: type[Any]) -> bool:
    """Whether a pipeline's code draws latents without a generator, as those of SD 3 do with a control picture."""
    return UNSEEDED in inspect.getsource(pipeline)


def _copy(pipeline: DiffusionPipeline, copies: dict[int, Any]) -> Any:
    """`copies` holds earlier copies by the original's identity: parts of a combined pipeline share schedulers."""
    mine: Any = copy.copy(pipeline)
    for name, value in vars(pipeline).items():
        if id(value) not in copies:
            if isinstance(value, DiffusionPipeline):
                copies[id(value)] = _copy(value, copies)
            elif isinstance(value, (SchedulerMixin, BaseGuidance)):
                copies[id(value)] = own_scheduler(value)
        if id(value) in copies:
            vars(mine)[name] = copies[id(value)]  # setattr would also write it into the configuration
    mine.maybe_free_model_hooks = lambda: None  # all images share the modules, so none may move them
    return mine
