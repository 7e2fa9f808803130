"""What a pipeline's code changes on the modules that all images share: attention processors, hooks and dtypes.

Some pipelines put their own attention processors into the denoiser for the length of a call (PAG, SAG), others cast
the VAE to float32 around a decode (SDXL in float16). Here such changes belong to the image whose code made them: they
are put back before another image's code runs, and are in force again when that image goes on or its call is made.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

HOOKS: Final = ("_forward_hooks", "_forward_pre_hooks")


@dataclass(frozen=True, eq=False, slots=True)
class Changes:
    """How the shared modules differ from how they were loaded."""

    dtypes: tuple[tuple[str, torch.dtype], ...] = ()
    """By the component's name."""
    processors: tuple[tuple[nn.Module, Any], ...] = ()
    hooks: tuple[tuple[dict[int, Any], dict[int, Any]], ...] = ()
    """A module's own dictionary of hooks, and what was in it."""

    @property
    def alone(self) -> bool:
        """Whether a call must not be joined with others: a processor may read which part of the rows is which."""
        return bool(self.processors or self.hooks)

    @property
    def key(self) -> Hashable:
        """Equal for calls that may be joined, as far as this decides it."""
        return self.dtypes


AS_LOADED: Final = Changes()


class SharedModules:
    """The modules of a pipeline. For the engine's thread."""

    def __init__(self, components: Mapping[str, Any], settle: Callable[[], None]) -> None:
        """`settle` waits for what the device still computes; it is called before weights change their dtype."""
        modules = {name: value for name, value in components.items() if isinstance(value, nn.Module)}
        self._settle = settle
        self._modules = modules
        self._examples = {name: first for name, module in modules.items() if (first := _first(module)) is not None}
        self._dtypes = [example.dtype for example in self._examples.values()]
        parts = [part for module in modules.values() for part in module.modules()]
        self._attentions = [part for part in parts if hasattr(part, "processor")]
        self._processors = [_processor(part) for part in self._attentions]
        all_hooks: list[dict[int, Any]] = [getattr(part, name) for part in parts for name in HOOKS]
        self._hooks = [(hooks, dict(hooks)) for hooks in all_hooks]
        self._now = AS_LOADED
        self.apart: set[str] = set()
        """Names of calls that are made for one image at a time, because joined ones do not give each its own."""

    def capture(self) -> Changes:
        """What differs now, after an image's code has run."""
        dtypes = [example.dtype for example in self._examples.values()]
        processors = [_processor(part) for part in self._attentions]
        if dtypes == self._dtypes and all(map(_same, processors, self._processors)):
            self._now = AS_LOADED
            return AS_LOADED
        named = zip(self._examples, dtypes, self._dtypes, strict=True)
        parts = zip(self._attentions, processors, self._processors, strict=True)
        changed = tuple((part, processor) for part, processor, loaded in parts if processor is not loaded)
        # Hooks are many, so they are looked at only where a processor has changed: those who add hooks change one too.
        hooks = tuple((hooks, dict(hooks)) for hooks, loaded in self._hooks if hooks != loaded) if changed else ()
        self._now = Changes(tuple((name, now) for name, now, loaded in named if now is not loaded), changed, hooks)
        return self._now

    def enter(self, changes: Changes) -> None:
        """Make the modules as `changes` says."""
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
                self._settle()
                self._modules[name].to(dtype)


def _first(module: nn.Module) -> nn.Parameter | None:
    return next((parameter for parameter in module.parameters() if parameter.is_floating_point()), None)


def _processor(part: nn.Module) -> Any:
    own = vars(part)
    return own["processor"] if "processor" in own else own["_modules"].get("processor")


def _put(part: nn.Module, processor: Any) -> None:
    if _processor(part) is not processor:
        vars(part)["_modules"].pop("processor", None)  # a plain object cannot replace a module
        part.processor = processor


def _fill(hooks: dict[int, Any], wanted: Mapping[int, Any]) -> None:
    if hooks != wanted:
        hooks.clear()
        hooks.update(wanted)


def _same(one: Any, other: Any) -> bool:
    return one is other
