"""One image on its way through a diffusers pipeline: the pipeline's own code, suspended at each call of a module.

Every image runs `pipe(…)` itself, in a greenlet of its own, on a copy of the pipeline that shares the weights and has
its own scheduler. Where that code calls a text encoder, the denoiser or the VAE's decoder, it is suspended, and the
call is handed out; the generator joins the calls of many images into one, and resumes each with its share of the
result. So any pipeline, any scheduler and any guidance work as their authors wrote them, and batch by step.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable
from contextlib import suppress
from enum import Enum
from typing import Any, Final

import numpy as np
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from greenlet import GreenletExit, getcurrent, greenlet
from numpy.typing import NDArray
from torch import Tensor

from limner_shared.errors import GenerationFailed
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.call_batching import Call, Digests, Signature
from limner_worker.generators.diffusers.checkpoint import Checkpoint, Output
from limner_worker.generators.diffusers.own_pipeline import own_pipeline
from limner_worker.generators.diffusers.shared_modules import AS_LOADED, Changes, SharedModules

COLOUR_DIMENSIONS: Final = 3
UNWINDINGS: Final = 3
"""A pipeline that calls a module while it cleans up is suspended again, and ended again."""


class Kind(Enum):
    """What a suspended call is for."""

    ENCODE = "encode"
    DENOISE = "denoise"
    DECODE = "decode"
    PAUSE = "pause"
    """No call: a step is over, of a pipeline whose denoiser is not known and therefore not shared."""


class _Run(greenlet):
    """The greenlet of an image, by which a tapped module knows on whose behalf it is called."""

    image: PipelineImage


def tap(owner: Any, method: str, kind: Kind, name: str) -> Callable[..., Any]:
    """Make `owner.method` suspend the image that calls it; returns the function as it was, to be called for many.

    Called by anybody but an image, it does what it always did.
    """
    original = getattr(owner, method)
    signature = Signature(name, original, shares=kind is not Kind.ENCODE)

    @functools.wraps(original)
    def tapped(*args: Any, **kwargs: Any) -> Any:
        run = getcurrent()
        if not isinstance(run, _Run):
            return original(*args, **kwargs)
        return run.image.suspend(kind, signature, args, kwargs)

    setattr(owner, method, tapped)
    return original


class PipelineImage:
    """The state of one image, as `base.RowState`."""

    def __init__(
        self,
        task: ImageTask,
        pipeline: Any,
        scheduler: Any,
        arguments: dict[str, Any],
        shared: SharedModules,
        *,
        pausing: bool,
    ) -> None:
        """`pipeline` is the loaded one, `scheduler` this image's own; `arguments` are those of the pipeline's call,
        `shared` the modules that its code may change for as long as it runs.

        `pausing`: none of its denoiser's calls will be handed out, so that it pauses after each step instead.
        """
        self._pausing = pausing
        self._shared = shared
        self.changes = AS_LOADED
        """What its code has changed on the shared modules."""
        self.task = task
        self.pending: Call | None = None
        self.kind: Kind | None = None
        self.error: Exception | None = None
        self.picture: NDArray[np.float32] | None = None
        """[height, width, 3] in [0, 1], once decoded."""
        self._digests = Digests()
        self._adapters = tuple((adapter.name, adapter.weight) for adapter in task.spec.adapters)
        self._moves = 0
        self._pipe: Any = own_pipeline(pipeline, scheduler)
        self._scheduler = scheduler
        self._of_a_flow = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
        self._generator: torch.Generator = arguments["generator"]
        self._latents: Any = None
        self._output: Any = None
        self._denoised: Any = None
        self._resumed = Checkpoint.read(task.checkpoint)
        scheduler.set_timesteps = functools.wraps(scheduler.set_timesteps)(
            functools.partial(_set_timesteps, scheduler.set_timesteps, task.spec.steps)
        )
        self._seeds_steps = "generator" in inspect.signature(scheduler.step).parameters
        scheduler.step = functools.wraps(scheduler.step)(functools.partial(self._move, scheduler.step))
        self._run = _Run(lambda _: picture_of(self._pipe(**arguments)))
        self._run.image = self

    @property
    def key(self) -> Hashable:
        """What is called, with which adapters, on tensors of which shapes."""
        call = None if self.pending is None else self.pending.key
        return self.task.alone, self._adapters, self.changes.key, call, id(self) if self.solitary else None

    @property
    def solitary(self) -> bool:
        """Whether what it waits for must be done for it alone."""
        if self.pending is None:
            return self.kind is Kind.PAUSE
        return self.pending.alone or self.changes.alone or self.pending.name in self._shared.apart

    @property
    def adapters(self) -> tuple[tuple[str, float], ...]:
        """The names and weights of the adapters that its calls need."""
        return self._adapters

    @property
    def call(self) -> Call:
        """The pending call. Raises RuntimeError if there is none: the image is done, or failed."""
        if self.pending is None:
            raise RuntimeError("this image waits for no call")
        return self.pending

    @property
    def finished(self) -> bool:
        """Whether only its decode is left, or nothing."""
        return self.kind not in (Kind.ENCODE, Kind.DENOISE, Kind.PAUSE)

    @property
    def steps_done(self) -> int:
        """Moves of the scheduler as a share of all that it will make: some make two for a step, some skip a part."""
        timesteps = getattr(self._scheduler, "timesteps", None)  # some have none until the pipeline has set them
        total = max(1, 0 if timesteps is None else len(timesteps))
        return self.task.spec.steps if self.finished else self.task.spec.steps * min(self._moves, total) // total

    def resume(self, value: Any = None) -> None:
        """Go on with the result of the pending call, up to the next one or the end; what fails is kept as `error`."""
        if self.kind is Kind.DENOISE:
            self._denoised = value
        try:
            outcome = self._switch(value)
            while (made_before := self._made_before()) is not None:
                outcome = self._switch(made_before)
        except Exception as error:  # noqa: BLE001 - a pipeline may raise anything; the engine fails this image
            self.error = error.with_traceback(None)
            return
        if self._run.dead:
            self.picture = outcome

    def close(self) -> None:
        """End the image's greenlet, if it has not ended, and break every reference cycle through this image.

        A suspended greenlet keeps its frames and all their tensors alive; only the thread that runs it can end it.
        """
        for _ in range(UNWINDINGS):
            if not self._run.dead:
                with suppress(Exception):  # what a pipeline raises while it cleans up concerns no picture
                    self._within(self._run.throw, GreenletExit)
        for name in ("step", "set_timesteps"):
            vars(self._scheduler).pop(name, None)
        vars(self._run).clear()
        self.pending = self.kind = self.picture = None
        self.changes = AS_LOADED
        self._shared.enter(AS_LOADED)
        self._latents = self._output = self._denoised = self._resumed = self._pipe = None
        self._digests = Digests()

    def suspend(self, kind: Kind, signature: Signature, args: Any, kwargs: Any) -> Any:
        """Called within the image's greenlet: hand a call out, and return what it is resumed with."""
        self.pending = signature.call(args, kwargs, self._digests)
        self.kind = kind
        return getcurrent().parent.switch()  # type: ignore[union-attr]

    def _switch(self, value: Any) -> Any:
        self.pending = self.kind = None
        return self._within(self._run.switch, value)

    def _within(self, go_on: Callable[..., Any], *args: Any) -> Any:
        """Let the image's code run with the shared modules as that code left them."""
        self._shared.enter(self.changes)
        try:
            return go_on(*args)
        finally:
            self.changes: Changes = self._shared.capture()

    def _made_before(self) -> Any:
        """What stands for the result of a call that an earlier attempt has made; None from there on."""
        if self._resumed is None or not self._skipping or self.pending is None or self.kind is not Kind.DENOISE:
            return None
        return self._resumed.denoised(self.pending.device)

    def checkpoint(self) -> bytes | None:
        """The latents after the last move, with all that the scheduler and the seed's generator remember."""
        if self._latents is None or self._denoised is None or self.finished:
            return None
        return Checkpoint.write(self._moves, self._latents, self._denoised, self._scheduler, self._generator)

    @property
    def clean(self) -> Tensor | None:
        """The latents without the noise that is still in them, where the scheduler is a flow's; else as they are."""
        if self._latents is None or not self._of_a_flow:
            return self._latents
        sigma = self._scheduler.sigmas[self._scheduler.step_index]
        return self._latents - sigma.to(self._latents.device) * self._output

    @property
    def _skipping(self) -> bool:
        return self._resumed is not None and self._moves < self._resumed.moves

    def _move(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The scheduler's step; of those that an earlier attempt has made, only the last one's outcome is put in."""
        if self._skipping:
            self._moves += 1
            sample = kwargs["sample"] if "sample" in kwargs else args[2]
            if not self._skipping:
                sample = self._resumed.restore(self._scheduler, self._generator, sample.device)  # type: ignore[union-attr]
            plain = kwargs.get("return_dict") is False
            return (
                (sample, sample) if plain else Output(prev_sample=sample, pred_original_sample=sample, denoised=sample)
            )
        if self._seeds_steps:  # a pipeline that gives no generator would have noise drawn that no seed governs
            kwargs.setdefault("generator", self._generator)
        result = original(*args, **kwargs)
        self._moves += 1
        self._latents = result[0]
        self._output = kwargs["model_output"] if "model_output" in kwargs else args[0]
        if self._pausing:
            self.kind = Kind.PAUSE
            getcurrent().parent.switch()  # type: ignore[union-attr]
        return result


def _set_timesteps(original: Callable[..., Any], steps: int, *args: Any, **kwargs: Any) -> Any:
    try:
        return original(*args, **kwargs)
    except (ValueError, IndexError, RuntimeError) as error:
        name = type(getattr(original, "__self__", None)).__name__
        raise GenerationFailed(f"steps: the scheduler {name} does not take {steps} steps: {error}") from error


def picture_of(output: Any) -> NDArray[np.float32]:
    """The first picture of a pipeline's output, under whatever name. Raises TypeError for what is no picture."""
    pictures = next(iter(output.values()))
    picture = pictures[0] if isinstance(pictures, (list, np.ndarray)) else None
    if not isinstance(picture, np.ndarray) or picture.ndim != COLOUR_DIMENSIONS:
        raise TypeError(f"{type(output).__name__} has no picture of height, width and colours")
    return picture
