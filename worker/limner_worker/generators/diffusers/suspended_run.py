"""The run of a diffusers pipeline for one image, suspended at each call of a module.

Every image runs `pipe(…)` itself, in a greenlet of its own, on a copy of the pipeline that shares the weights and has
its own scheduler. The run is suspended where it calls a text encoder, the denoiser or the VAE's decoder; the generator
joins the pending calls of many images into one, and resumes each run with its share of the output. Thus any pipeline,
scheduler and guidance work as their authors wrote them, and are batched by step.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from greenlet import GreenletExit, getcurrent, greenlet
from numpy.typing import NDArray
from torch import Tensor

from limner_shared.errors import GenerationFailed, RequestUnsupported
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.calls.call_batching import Call, CallBuilder, CallKind, CallMemory
from limner_worker.generators.diffusers.calls.encoded_prompts import forget
from limner_worker.generators.diffusers.calls.host_times import HostTimes
from limner_worker.generators.diffusers.checkpoint import Checkpoint, Output
from limner_worker.generators.diffusers.joint_steps import Joining, ScheduledStep
from limner_worker.generators.diffusers.output_pictures import allowed_picture_of
from limner_worker.generators.diffusers.own_pipeline import stateful_parts
from limner_worker.generators.diffusers.pipeline_checks import COPIED, signature_of, takes_generator
from limner_worker.generators.diffusers.shared_modules import AS_LOADED, Changes, SharedModules
from limner_worker.generators.diffusers.weights.adapter_loading import UsedAdapters

UNWINDINGS: Final = 3
"""The attempts to end a run: a pipeline that calls a module while it cleans up is suspended again."""


class _RunGreenlet(greenlet):
    """The greenlet of an image's run, by which a tapped method finds the run that calls it."""

    image: SuspendedRun


def tap(owner: Any, method: str, kind: CallKind, name: str) -> Callable[..., Any]:
    """Replace `owner.method` by one that suspends the calling run; return the original, for joined calls.

    Outside a run the replacement calls the original.
    """
    original = getattr(owner, method)
    builder = CallBuilder(name, original, kind)

    @functools.wraps(original)
    def tapped(*args: Any, **kwargs: Any) -> Any:
        run = getcurrent()
        if not isinstance(run, _RunGreenlet):
            return original(*args, **kwargs)
        if kind is CallKind.CONTROL and (skipped := run.image.skipped) is not None:
            return skipped.control_output(functools.partial(original, *args, **kwargs))
        return run.image.suspend(kind, builder, args, kwargs)

    setattr(owner, method, tapped)
    return original


class SuspendedRun:
    """The state of one image, as `base.RowState`."""

    def __init__(
        self,
        task: ImageTask,
        pipeline: Any,
        scheduler: Any,
        arguments: dict[str, Any],
        shared: SharedModules,
        adapters: UsedAdapters,
        *,
        pausing: bool,
    ) -> None:
        """`pipeline` and `scheduler` are this image's own, and `arguments` those of its call, which may change
        the `shared` modules. `pausing`: it has no known denoiser, so the run pauses after each step, not at each call.
        """
        self._pausing = pausing
        self._shared = shared
        self.changes = AS_LOADED
        """The changes of this image's code to the shared modules."""
        self.task, self.rows = task, 1
        self.pending: Call | None = None
        self.kind: CallKind | None = None
        self.error: Exception | None = None
        self.picture: NDArray[np.float32] | None = None
        """[height, width, 3] in [0, 1]; None until decoded."""
        self.joining = Joining()
        self._memory = CallMemory()
        self._controlled = self._stateful = False
        self.adapters = adapters  # that the calls need
        self._pipe: Any = pipeline
        self._scheduler, self._scheduler_steps = scheduler, 0
        self._uses_flow_matching = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
        self._generator: torch.Generator = arguments["generator"]
        self._latents: Any = None
        self._output: Any = None
        self._denoised: Any = None
        self._resumed = Checkpoint.read(task.checkpoint)
        self._seeds_steps = takes_generator(scheduler.__class__)
        self._tap_scheduler()
        self._run = _RunGreenlet(functools.partial(self._draw, arguments))
        self._run.image = self

    def __deepcopy__(self, _: object) -> SuspendedRun:
        """Refuse a copy of the scheduler with its counted steps, as Panorama makes for each part of a picture."""
        raise GenerationFailed(COPIED)

    def _draw(self, arguments: Mapping[str, Any], _: Any) -> Any:
        return allowed_picture_of(self._pipe(**arguments))

    def _tap_scheduler(self) -> None:
        """Make the scheduler count this image's steps, skip those of an earlier attempt, and explain its errors."""
        self._host_times: HostTimes | None = None
        original: Any = self._scheduler.set_timesteps
        set_timesteps: Any = functools.partial(self._set_timesteps, original)
        self._scheduler.set_timesteps = functools.wraps(original)(set_timesteps)
        step: Any = self._scheduler.step
        counted: Any = functools.partial(self._scheduler_step, step)
        self._scheduler.step = functools.wraps(step)(counted)
        # Pipelines look at both signatures for each image.
        set_timesteps.__signature__ = signature_of(self._scheduler.__class__, "set_timesteps")
        counted.__signature__ = signature_of(self._scheduler.__class__, "step")

    @property
    def key(self) -> Hashable:
        """The pending call with its tensor shapes, the adapters, and the changes to the shared modules."""
        call = None if self.pending is None else self.pending.key
        return self.task.alone, self.adapters, self.changes.key, call, id(self) if self.solitary else None

    @property
    def solitary(self) -> bool:
        """Whether the pending call must not be joined with others."""
        if self.pending is None:
            return self.kind is CallKind.PAUSE
        return self.pending.alone or self.changes.alone or self.pending.name in self._shared.unbatched_calls

    @property
    def call(self) -> Call:
        """The pending call. Raises RuntimeError if there is none, because the run has ended."""
        if self.pending is None:
            raise RuntimeError("this image has no pending call")
        return self.pending

    @property
    def finished(self) -> bool:
        """Whether only the decode is left, or nothing."""
        return self.kind in (None, CallKind.DECODE)

    @property
    def controlled(self) -> bool:
        """Whether it waits for the denoiser with what the control network has just given: many large tensors."""
        return self._controlled and self.kind is CallKind.DENOISE

    @property
    def steps_done(self) -> int:
        """The scheduler's steps, scaled to `spec.steps`: some schedulers take two for one, some tasks skip a part."""
        timesteps = getattr(self._scheduler, "timesteps", None)  # some have none until the pipeline sets them
        total = max(1, 0 if timesteps is None else len(timesteps))
        steps = self.task.spec.steps
        return steps if self.finished else steps * min(self._scheduler_steps, total) // total

    def resume(self, value: Any = None) -> None:
        """Resume with the result of the pending call until the next call or the end; a failure is stored in `error`."""
        if self.kind is CallKind.DENOISE:
            self._denoised = value
        self._controlled = self.kind is CallKind.CONTROL
        try:
            outcome = self._switch(value)
            while (skipped_result := self._skipped_result()) is not None:
                outcome = self._switch(skipped_result)
        except Exception as error:  # noqa: BLE001 - a pipeline may raise anything; the engine fails this image only
            self.error = error.with_traceback(None)
            return
        if self._run.dead:
            self.picture = outcome

    def close(self) -> None:
        """End the greenlet if it is still suspended, and break every reference cycle through this image.

        A suspended greenlet keeps its frames and their tensors alive, and only the thread that runs it can end it.
        """
        for _ in range(UNWINDINGS):
            if not self._run.dead:
                with suppress(Exception):  # an error during the pipeline's cleanup concerns no picture
                    self._with_own_changes(self._run.throw, GreenletExit)
        for name in ("step", "set_timesteps"):
            self._scheduler.__dict__.pop(name, None)
        vars(self._run).clear()
        forget(self._pipe)
        self.pending = self.kind = self.picture = None
        self.changes = AS_LOADED
        self._shared.enter(AS_LOADED)
        self._latents = self._output = self._denoised = self._resumed = self._pipe = None
        self._memory, self.joining = CallMemory(), Joining()

    def suspend(self, kind: CallKind, builder: CallBuilder, args: Any, kwargs: Any) -> Any:
        """Called within the image's greenlet: hand out a call, and return the value that the run is resumed with."""
        self.pending = builder.call(args, kwargs, self._memory)
        # A denoiser that keeps something in an argument needs all its calls, also those that a resumed run skips.
        self._stateful |= kind is CallKind.DENOISE and self.pending.stateful
        return self._wait(kind)

    def repeat(self, call: Call) -> Any:
        """Called within the image's greenlet: make a text encoder's call again, and return its complete output."""
        self.pending = dataclasses.replace(call, repeated=True)
        return self._wait(CallKind.ENCODE)

    def _switch(self, value: Any) -> Any:
        self.pending = self.kind = None
        return self._with_own_changes(self._run.switch, value)

    def _with_own_changes(self, run: Callable[..., Any], *args: Any) -> Any:
        """Run the image's code with its own changes to the shared modules applied."""
        self._shared.enter(self.changes)
        try:
            return run(*args)
        finally:
            self.changes: Changes = self._shared.capture()

    def _skipped_result(self) -> Any:
        """Return a placeholder for the result of a call that an earlier attempt made; None after the last such call."""
        if (skipped := self.skipped) is None or self.pending is None or self.kind is not CallKind.DENOISE:
            return None
        return skipped.denoised(self.pending.device)

    def checkpoint(self) -> bytes | None:
        """Return the latents after the last step, the state of its own parts and of its generator; None without any."""
        if self._latents is None or self._denoised is None or self._stateful or self.kind is None:
            return None
        parts = stateful_parts(self._pipe, self._scheduler)
        return Checkpoint.write(self._scheduler_steps, self._latents, self._denoised, parts, self._generator)

    @property
    def clean(self) -> Tensor | None:
        """The predicted noise-free latents for a flow-matching scheduler; for others, the latents as they are."""
        if self._latents is None or not self._uses_flow_matching:
            return self._latents
        sigma = self._scheduler.sigmas[self._scheduler.step_index]
        return self._latents - sigma.to(self._latents.device) * self._output

    @property
    def skipped(self) -> Checkpoint | None:
        """The earlier attempt whose steps are being skipped; None if there is none, or all are."""
        return self._resumed if self._resumed is not None and self._scheduler_steps < self._resumed.moves else None

    def _scheduler_step(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The scheduler's step. Steps of an earlier attempt are skipped; the last of them restores its state."""
        if (skipped := self.skipped) is not None:
            self._scheduler_steps += 1
            sample = kwargs["sample"] if "sample" in kwargs else args[2]
            if self._scheduler_steps == skipped.moves:
                parts = stateful_parts(self._pipe, self._scheduler)
                sample = skipped.restore(parts, self._generator, sample.device)
            if kwargs.get("return_dict") is False:
                return sample, sample
            return Output(prev_sample=sample, pred_original_sample=sample, denoised=sample)
        if self._host_times is not None:
            args, kwargs = self._host_times.given(args, kwargs)
        if self._seeds_steps:  # without a generator the scheduler would draw noise that the seed does not determine
            kwargs.setdefault("generator", self._generator)
        result = self._joint_result(args, kwargs) if self.joining.enabled else None
        if result is None:
            result = original(*args, **kwargs)
        self._scheduler_steps += 1
        self._latents = result[0]
        self._output = kwargs["model_output"] if "model_output" in kwargs else args[0]
        if self._pausing:
            self._wait(CallKind.PAUSE)
        return result

    def _set_timesteps(self, original: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """The scheduler's `set_timesteps`, with an error that says what the request must change."""
        try:
            original(*args, **kwargs)
        except (ValueError, IndexError, RuntimeError) as error:
            name, steps = type(self._scheduler).__name__, self.task.spec.steps
            raise RequestUnsupported(f"steps: the scheduler {name} does not take {steps} steps: {error}") from error
        self._host_times = HostTimes.of(self._scheduler)

    def _joint_result(self, args: Any, kwargs: Any) -> Any:
        """Hand out the scheduler's step; return its result, or None if this image is to make it."""
        self.joining.pending = ScheduledStep(self._scheduler, args, kwargs, self.joining.identities)
        result = self._wait(CallKind.SCHEDULE)
        self.joining.pending = None
        return result

    def _wait(self, kind: CallKind) -> Any:
        """Suspend the image's greenlet at a call; return the value that the generator resumes it with."""
        generator, self.kind = getcurrent().parent, kind
        if generator is None:
            raise RuntimeError("no greenlet can resume this one")
        return generator.switch()
