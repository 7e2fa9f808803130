"""One call of a scheduler for all images of a batch that stand at the same step.

An image's scheduler computes a few numbers and then some ten operations on small tensors; for eight images that takes
eight times as long as for one. Where a scheduler treats each element by itself, the rows of several images pass through
one of their schedulers together, with the same bits, and its state is divided among theirs. Whether a scheduler does so
is tried when the model is loaded; the others step image by image.
"""

from __future__ import annotations

import copy
import functools
import inspect
import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import is_
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from limner_worker.generators.diffusers.pipeline_checks import set_steps
from limner_worker.generators.diffusers.scheduler_trials import tried_once
from limner_worker.generators.nested_tensors import PLAIN, divided

TAPPED: Final = frozenset({"step", "set_timesteps"})
"""Attributes of a scheduler that belong to its image."""
TRIAL_STEPS: Final = 8
TRIAL_SHAPE: Final = (1, 3, 5, 7)
ROW_ELEMENTS: Final = 3 * 5 * 7
WORTHWHILE: Final = 25
"""Operations of a step for which joining it pays. Less than this costs less than to suspend the images once more."""
ELEMENTWISE: Final = frozenset({
    "add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "neg", "pow", "sqrt", "clamp", "where", "lerp",
    "clone", "copy_", "detach", "_to_copy", "to", "alias", "slice", "select", "split", "unsqueeze", "squeeze", "view",
    "expand", "reshape", "_unsafe_view", "permute", "transpose", "cat", "stack", "zeros_like", "ones_like",
    "empty_like", "lift_fresh", "maximum", "minimum", "abs", "addcmul", "unbind", "as_strided",
})  # fmt: skip
"""Operations whose result for an element has the same bits in any batch."""
PRODUCTS: Final = frozenset({"bmm", "mm"})
"""Matrix products have the same bits too if they sum a single product."""


class ScheduledStep:
    """An image's call of its scheduler's step, before it is made."""

    def __init__(self, scheduler: Any, args: Sequence[Any], kwargs: Mapping[str, Any], identities: Identities) -> None:
        self.scheduler = scheduler
        self.arguments: dict[str, Any] = {**dict(zip(_parameters(scheduler.__class__), args, strict=False)), **kwargs}
        self.rows = int(self.arguments["sample"].shape[0])
        self.identities = identities
        self.position: Hashable = identities.of(scheduler, self.arguments, self.rows)
        """Steps with equal positions may be made as one."""


class Identities:
    """What distinguishes one image's step from another's: numbers, tables and shapes. Few change at each step.

    Images whose last step was made as one have equal states as long as nothing else changes them, so their numbers and
    tables need not be compared again.
    """

    def __init__(self) -> None:
        self._fixed: dict[str, Any] = {}
        """Tables, configuration and options, by name; compared as objects, and by content if one was replaced."""
        self._fixed_content: Hashable = None
        self._varying: list[str] = []
        self._count = 0
        self._joint_step: object | None = None
        self._after: tuple[dict[str, Any], list[list[Any]]] = {}, []
        """The scheduler's state after the joint step, and the content of its lists, which steps change in place."""

    def joined(self, step: object, state: Mapping[str, Any]) -> None:
        """The scheduler has this state after a joint step; `step` is one object for all images of the step."""
        self._joint_step, self._after = step, (dict(state), _lists(state))

    def of(self, scheduler: Any, arguments: Mapping[str, Any], rows: int) -> Hashable:
        """Return what distinguishes a scheduler's state and a call, apart from the content of tensors with rows."""
        state: dict[str, Any] = scheduler.__dict__
        times = state.get("timesteps")
        given = tuple(
            [(name, _identity(value, rows, times)) for name, value in arguments.items() if name != "generator"]
        )
        if self._joint_step is not None and _same(state, self._after[0]) and _same(_lists(state), self._after[1]):
            return self._joint_step, given
        self._joint_step = None
        return scheduler.__class__, *self._state(state, rows, times), given

    def _state(self, state: Mapping[str, Any], rows: int, times: Any) -> tuple[Hashable, ...]:
        if len(state) != self._count or not all(map(is_, map(state.get, self._fixed), self._fixed.values())):
            self._look(state, rows)
        return self._fixed_content, tuple([_identity(state[name], rows, times) for name in self._varying])

    def _look(self, state: Mapping[str, Any], rows: int) -> None:
        self._varying = [
            name
            for name, value in state.items()
            if value is None or type(value) in (int, list) or _has_rows(value, rows) or name in TAPPED
        ]
        self._fixed = {name: value for name, value in state.items() if name not in self._varying}
        self._varying = [name for name in self._varying if name not in TAPPED]
        self._count = len(state)
        self._fixed_content = tuple([(name, _content(value)) for name, value in self._fixed.items()])


def _lists(state: Mapping[str, Any]) -> list[list[Any]]:
    return [list(cast("list[Any]", value)) for value in state.values() if type(value) is list]


def _same(some: Any, others: Any) -> bool:
    """Whether the same objects, or equal numbers, are in the same places."""
    try:
        return bool(some == others)
    except (RuntimeError, ValueError):  # two tensors or arrays have been compared by their elements
        return False


def _identity(value: Any, rows: int, times: Any) -> Hashable:
    if value is None or isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor):
        if _has_rows(value, rows):
            return value.shape, value.dtype
        if not value.ndim and isinstance(times, Tensor):
            place = (value.data_ptr() - times.data_ptr()) // times.element_size()
            if 0 <= place < len(times):
                return "time", place  # a view of the schedule: its place says what it is, without a look at it
    if isinstance(value, list):
        return tuple([_identity(item, rows, times) for item in cast("list[Any]", value)])
    return _content(value)


@dataclass(eq=False, slots=True)
class Joining:
    """One image's part in joint steps."""

    enabled: bool = False
    """Whether to suspend the image at its scheduler's next step. Only for schedulers whose rows may be joined."""
    pending: ScheduledStep | None = None
    identities: Identities = field(default_factory=Identities)


def step_jointly(steps: Sequence[ScheduledStep]) -> list[Any]:
    """Make several images' steps, which have one position, as one; return each image's result."""
    first, rows = steps[0], steps[0].rows
    states: list[dict[str, Any]] = [each.scheduler.__dict__ for each in steps]
    joint = cast("Any", object).__new__(first.scheduler.__class__)
    before = {name: value for name, value in states[0].items() if name not in TAPPED}
    for name, value in before.items():
        if isinstance(value, list) or _has_rows(value, rows):
            before[name] = _joined([state[name] for state in states], rows)
    joint.__dict__.update(before)
    arguments = {
        name: _joined([each.arguments[name] for each in steps], rows) if _has_rows(value, rows) else value
        for name, value in first.arguments.items()
    }
    if arguments.get("generator") is not None:
        arguments["generator"] = [each.arguments["generator"] for each in steps]
    result = joint.step(**arguments)
    for name, value in joint.__dict__.items():
        if value is not before.get(name, before) or isinstance(value, list):
            for state, share in zip(states, _shares(value, rows, len(steps)), strict=True):
                state[name] = share
    step = object()
    for each, state in zip(steps, states, strict=True):
        each.identities.joined(step, state)
    return _shares(result, rows, len(steps))


@tried_once
def may_join(scheduler: Any, device: torch.device, dtype: torch.dtype) -> bool:
    """Try whether a scheduler gives two images in one call the bits that it gives each alone, element by element."""
    try:
        with cast("Any", torch.random).fork_rng(devices=[]):
            return _try(scheduler, device, dtype)
    except Exception:  # noqa: BLE001 - one that cannot be tried so steps image by image
        return False


def _try(scheduler: Any, device: torch.device, dtype: torch.dtype) -> bool:
    noise, recorder = torch.Generator().manual_seed(0), _OperationRecorder()
    alone, joint = ([_TrialImage(scheduler, seed) for seed in (1, 2)] for _ in "12")
    samples = [torch.randn(TRIAL_SHAPE, generator=noise).to(device, dtype) for _ in alone]
    both = list(samples)
    times = alone[0].scheduler.timesteps
    for time in times:
        outputs = [torch.randn(TRIAL_SHAPE, generator=noise).to(device, dtype) for _ in alone]
        own = [image.step(output, sample, time) for image, output, sample in zip(alone, outputs, samples, strict=True)]
        samples = [each.scheduler.step(**each.arguments)[0] for each in own]
        steps = [image.step(output, sample, time) for image, output, sample in zip(joint, outputs, both, strict=True)]
        if steps[0].position != steps[1].position:
            return False
        with recorder:
            both = [result[0] for result in step_jointly(steps)]
        if recorder.other or not all(map(torch.equal, samples, both)):
            return False
    return recorder.count >= WORTHWHILE * len(times)


class _TrialImage:
    """An image of the trial, with a scheduler of its own."""

    def __init__(self, scheduler: Any, seed: int) -> None:
        self.scheduler: Any = copy.deepcopy(scheduler)
        set_steps(self.scheduler, TRIAL_STEPS)
        self._generator = torch.Generator().manual_seed(seed)
        self._identities = Identities()

    def step(self, output: Tensor, sample: Tensor, time: Tensor) -> ScheduledStep:
        """Return the step that follows an output of the denoiser."""
        if hasattr(self.scheduler, "scale_model_input"):
            self.scheduler.scale_model_input(sample, time)
        takes = "generator" in _parameters(self.scheduler.__class__)
        given = {"return_dict": False, **({"generator": self._generator} if takes else {})}
        return ScheduledStep(self.scheduler, (output, time, sample), given, self._identities)


class _OperationRecorder(TorchDispatchMode):
    """Notes the operations on rows that are not elementwise."""

    def __init__(self) -> None:
        cast("Any", super()).__init__()
        self.other: set[str] = set()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        self.count += 1
        tensors = [each for each in args if isinstance(each, Tensor)]
        single = name in PRODUCTS and tensors[0].shape[-1] == 1
        if any(each.numel() >= ROW_ELEMENTS for each in tensors) and name not in ELEMENTWISE and not single:
            self.other.add(name)
        return func(*args, **(kwargs or {}))


@functools.cache
def _parameters(scheduler: type[Any]) -> tuple[str, ...]:
    """The names of the parameters of a scheduler's step."""
    return tuple(inspect.signature(scheduler.step).parameters)[1:]


def _has_rows(value: Any, rows: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 1 and value.shape[0] == rows


def _content(value: Any) -> Hashable:
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor):
        return "tensor", value.shape, value.dtype, value.device, value.detach().cpu().numpy().tobytes()
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        return "array", array.shape, array.dtype.str, array.tobytes()
    if isinstance(value, Mapping):
        mapping = cast("Mapping[str, Any]", value)
        try:
            return "mapping", json.dumps(mapping, sort_keys=True)
        except TypeError:  # it contains an object, which only equals itself
            return "object", id(mapping)
    return "object", id(value)


def _joined(values: Sequence[Any], rows: int) -> Any:
    first = values[0]
    if isinstance(first, list):
        return [_joined(items, rows) for items in zip(*values, strict=True)]
    return torch.cat(list(values)) if _has_rows(first, rows) else first


def _shares(value: Any, rows: int, count: int) -> list[Any]:
    """Divide a value among images: the rows of tensors, also in lists; other values are shared."""

    def divide(value: Any) -> list[Any]:
        if isinstance(value, list):
            items = [divided(item, count, divide) for item in cast("list[Any]", value)]
            return [[shares[number] for shares in items] for number in range(count)]
        return list(value.split(rows)) if _has_rows(value, rows * count) else [value] * count

    return divided(value, count, divide)
