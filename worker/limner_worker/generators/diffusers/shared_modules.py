"""Changes that a pipeline's code makes to the shared modules: attention processors, hooks and dtypes.

Some pipelines install their own attention processors in the denoiser for the duration of a call (PAG, SAG), others cast
the VAE to float32 around a decode (SDXL in float16). Here such changes belong to the image whose code made them: they
are reverted before another image's code runs, and applied again when that image resumes or its call is made.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from itertools import repeat
from operator import is_
from typing import Any, Final

import torch
from torch import nn

HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks")
_get: Callable[[dict[str, Any], str], Any] = dict[str, Any].get


@dataclass(frozen=True, eq=False, slots=True)
class Changes:
    """The differences of the shared modules from their state at load."""

    dtypes: tuple[tuple[str, torch.dtype], ...] = ()
    """The dtype of each changed component, by its name."""
    processors: tuple[tuple[nn.Module, Any], ...] = ()
    hooks: tuple[tuple[dict[int, Any], dict[int, Any]], ...] = ()
    """A module's own dictionary of hooks, and its content."""

    @property
    def alone(self) -> bool:
        """Whether a call must not be joined with others, because a processor may depend on the order of the rows."""
        return bool(self.processors or self.hooks)

    @property
    def key(self) -> Hashable:
        """Calls may be joined only if their keys are equal."""
        return self.dtypes


AS_LOADED: Final = Changes()


class SharedModules:
    """The modules of a pipeline that all images share. For the engine's thread."""

    def __init__(self, components: Mapping[str, Any], synchronize: Callable[[], None]) -> None:
        """`synchronize` waits for the device; it is called before the dtype of weights changes."""
        modules = {name: value for name, value in components.items() if isinstance(value, nn.Module)}
        self._synchronize = synchronize
        self._modules = modules
        self._examples = {name: first for name, module in modules.items() if (first := _first(module)) is not None}
        self._dtypes = [example.dtype for example in self._examples.values()]
        parts = [part for module in modules.values() for part in module.modules()]
        self._attentions = [part for part in parts if hasattr(part, "processor")]
        self._processors = [_processor(part) for part in self._attentions]
        places = [(vars(part), vars(part)["_modules"]) for part in self._attentions]
        self._places = [own if "processor" in own else modules for own, modules in places]
        """The dictionaries in which the modules hold their processors as loaded."""
        # Text encoders install hooks of their own at their first call, to collect their hidden layers: those must stay.
        hooked = [part for module in modules.values() if _has_processors(module) for part in module.modules()]
        all_hooks: list[dict[int, Any]] = [getattr(part, name) for part in hooked for name in HOOKS]
        self._hooks = [(hooks, dict(hooks)) for hooks in all_hooks]
        self._now = AS_LOADED
        self.unbatched_calls: set[str] = set()
        """Names of calls that are made for one image at a time, because joined calls give wrong results."""

    def capture(self) -> Changes:
        """Return the differences from the state at load, after an image's code has run."""
        dtypes = [example.dtype for example in self._examples.values()]
        # This runs after each call of each image, over up to 140 attention layers, so it has no loop in Python.
        now = map(_get, self._places, repeat("processor"))
        if dtypes == self._dtypes and all(map(is_, now, self._processors)):
            self._now = AS_LOADED
            return AS_LOADED
        processors = [_processor(part) for part in self._attentions]
        named = zip(self._examples, dtypes, self._dtypes, strict=True)
        parts = zip(self._attentions, processors, self._processors, strict=True)
        changed = tuple((part, processor) for part, processor, loaded in parts if processor is not loaded)
        # There are many hooks, so compare them only if a processor has changed: code that adds hooks changes one too.
        hooks = tuple((hooks, dict(hooks)) for hooks, loaded in self._hooks if hooks != loaded) if changed else ()
        self._now = Changes(tuple((name, now) for name, now, loaded in named if now is not loaded), changed, hooks)
        return self._now

    def enter(self, changes: Changes) -> None:
        """Put the modules into the state that `changes` describes."""
        if changes is self._now:
            return
        self._cast(dict(changes.dtypes))
        if self._now.alone:
            for part, loaded in zip(self._attentions, self._processors, strict=True):
                _put(part, loaded)
            for hooks, loaded in self._hooks:
                _fill(hooks, loaded)
        for part, processor in changes.processors:
            _put(part, processor)
        for hooks, wanted in changes.hooks:
            _fill(hooks, wanted)
        self._now = changes

    def _cast(self, wanted: Mapping[str, torch.dtype]) -> None:
        for (name, example), loaded in zip(self._examples.items(), self._dtypes, strict=True):
            dtype = wanted.get(name, loaded)
            if example.dtype is not dtype:
                self._synchronize()
                self._modules[name].to(dtype)


def _first(module: nn.Module) -> nn.Parameter | None:
    return next((parameter for parameter in module.parameters() if parameter.is_floating_point()), None)


def _has_processors(module: nn.Module) -> bool:
    return any(hasattr(part, "processor") for part in module.modules())


def _processor(part: nn.Module) -> Any:
    own = vars(part)
    return own["processor"] if "processor" in own else own["_modules"].get("processor")


def _put(part: nn.Module, processor: Any) -> None:
    if _processor(part) is not processor:
        vars(part)["_modules"].pop("processor", None)  # assigning a plain object does not replace a registered module
        part.processor = processor


def _fill(hooks: dict[int, Any], wanted: Mapping[int, Any]) -> None:
    if hooks != wanted:
        hooks.clear()
        hooks.update(wanted)
