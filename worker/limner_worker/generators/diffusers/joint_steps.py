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
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from limner_worker.generators.diffusers.pipeline_checks import set_steps
from limner_worker.generators.nested_tensors import PLAIN, map_leaves

TAPPED: Final = frozenset({"step", "set_timesteps"})
"""Attributes of a scheduler that belong to its image."""
TRIAL_STEPS: Final = 8
TRIAL_SHAPE: Final = (1, 3, 5, 7)
ELEMENTWISE: Final = frozenset({
    "add", "add_", "sub", "sub_", "rsub", "mul", "mul_", "div", "div_", "neg", "pow", "sqrt", "clamp", "where", "lerp",
    "clone", "copy_", "detach", "_to_copy", "to", "alias", "slice", "select", "unsqueeze", "squeeze", "view", "expand",
    "reshape", "_unsafe_view", "permute", "transpose", "cat", "stack", "zeros_like", "ones_like", "empty_like",
    "lift_fresh", "maximum", "minimum", "abs", "addcmul", "unbind", "as_strided",
})  # fmt: skip
"""Operations whose result for an element has the same bits in any batch."""
PRODUCTS: Final = frozenset({"bmm", "mm"})
"""Matrix products have the same bits too if they sum a single product."""


class ScheduledStep:
    """An image's call of its scheduler's step, before it is made."""

    def __init__(self, scheduler: Any, args: Sequence[Any], kwargs: Mapping[str, Any], identities: Identities) -> None:
        self.scheduler = scheduler
        self.arguments: dict[str, Any] = {**dict(zip(_parameters(type(scheduler)), args, strict=False)), **kwargs}
        self.rows = len(self.arguments["sample"])
        about = {name: value for name, value in vars(scheduler).items() if name not in TAPPED}
        given = {name: value for name, value in self.arguments.items() if name != "generator"}
        self.position: Hashable = (
            type(scheduler),
            identities.of(about, self.rows, None),
            identities.of(given, self.rows, getattr(scheduler, "timesteps", None)),
        )
        """Steps with equal positions may be made as one."""


class Identities:
    """The identities of one image's numbers and tables, which seldom change from step to step."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Hashable]] = {}

    def of(self, values: Mapping[str, Any], rows: int, times: Any) -> Hashable:
        """Return what distinguishes values, apart from the content of tensors with rows."""
        return tuple([(name, self._one(value, rows, times)) for name, value in values.items()])

    def _one(self, value: Any, rows: int, times: Any) -> Hashable:
        if value is None or isinstance(value, PLAIN):
            return value
        if isinstance(value, Tensor):
            if _has_rows(value, rows):
                return "rows", value.shape[1:], value.dtype
            if not value.ndim and isinstance(times, Tensor) and times.ndim:
                place = (value.data_ptr() - times.data_ptr()) // times.element_size()
                if 0 <= place < len(times):
                    return "time", place  # a view of the schedule: its place says what it is, without a look at it
        if isinstance(value, list):
            return tuple([self._one(item, rows, times) for item in cast("list[Any]", value)])
        known = self._known.get(id(value))
        if known is None or known[0] is not value:
            known = self._known[id(value)] = value, _content(value)
        return known[1]


def step_jointly(steps: Sequence[ScheduledStep]) -> list[Any]:
    """Make several images' steps, which have one position, as one; return each image's result."""
    first, count = steps[0], len(steps)
    rows = first.rows
    joint = copy.copy(first.scheduler)
    for name, value in vars(first.scheduler).items():
        if name not in TAPPED and isinstance(value, (Tensor, list)):
            vars(joint)[name] = _joined([vars(each.scheduler)[name] for each in steps], rows)
    for name in TAPPED:
        vars(joint).pop(name, None)
    before = dict(vars(joint))
    arguments = {name: _joined([each.arguments[name] for each in steps], rows) for name in first.arguments}
    if arguments.get("generator") is not None:
        arguments["generator"] = [each.arguments["generator"] for each in steps]
    result = type(joint).step(joint, **arguments)
    changed = {
        name: value
        for name, value in vars(joint).items()
        if value is not before.get(name, before) or isinstance(value, list)
    }
    results: list[Any] = []
    for number, each in enumerate(steps):
        mine = slice(number * rows, (number + 1) * rows)
        share = functools.partial(_share, mine=mine, total=count * rows)
        vars(each.scheduler).update({name: share(value) for name, value in changed.items()})
        results.append(map_leaves(result, share))
    return results


def may_join(scheduler: Any, device: torch.device, dtype: torch.dtype) -> bool:
    """Try whether a scheduler gives two images in one call the bits that it gives each alone, element by element."""
    try:
        with torch.random.fork_rng(devices=[]):
            return _try(scheduler, device, dtype)
    except Exception:  # noqa: BLE001 - one that cannot be tried so steps image by image
        return False


def _try(scheduler: Any, device: torch.device, dtype: torch.dtype) -> bool:
    noise = torch.Generator().manual_seed(0)
    alone, joint = ([copy.deepcopy(scheduler) for _ in "12"] for _ in "12")
    for each in (*alone, *joint):
        set_steps(each, TRIAL_STEPS)
    drawing = [[torch.Generator().manual_seed(seed) for seed in (1, 2)] for _ in "12"]
    samples = [torch.randn(TRIAL_SHAPE, generator=noise).to(device, dtype) for _ in "12"]
    both, watched = list(samples), _Watched()
    takes = _parameters(type(scheduler))
    identities = [Identities(), Identities()]
    for time in alone[0].timesteps:
        outputs = [torch.randn(TRIAL_SHAPE, generator=noise).to(device, dtype) for _ in "12"]
        calls: list[list[dict[str, Any]]] = []
        for group, images, seeds in zip((alone, joint), (samples, both), drawing, strict=True):
            if hasattr(group[0], "scale_model_input"):
                for each, image in zip(group, images, strict=True):
                    each.scale_model_input(image, time)
            given = [{"generator": seed} if "generator" in takes else {} for seed in seeds]
            calls.append([
                {"model_output": output, "timestep": time, "sample": image, "return_dict": False} | more
                for output, image, more in zip(outputs, images, given, strict=True)
            ])
        samples = [each.step(**call)[0] for each, call in zip(alone, calls[0], strict=True)]
        steps = [ScheduledStep(*each, ids) for *each, ids in zip(joint, ((), ()), calls[1], identities, strict=True)]
        if steps[0].position != steps[1].position:
            return False
        with watched:
            both = [result[0] for result in step_jointly(steps)]
        if watched.other or not all(map(torch.equal, samples, both)):
            return False
    return True


class _Watched(TorchDispatchMode):
    """Notes the operations on rows that are not elementwise."""

    def __init__(self) -> None:
        super().__init__()
        self.other: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        tensors = [each for each in args if isinstance(each, Tensor)]
        if any(each.numel() >= np.prod(TRIAL_SHAPE) for each in tensors) and name not in ELEMENTWISE:
            if name not in PRODUCTS or tensors[0].shape[-1] != 1:
                self.other.add(name)
        return func(*args, **(kwargs or {}))


@functools.cache
def _parameters(scheduler: type[Any]) -> tuple[str, ...]:
    """The names of the parameters of a scheduler's step."""
    return tuple(inspect.signature(scheduler.step).parameters)[1:]


def _has_rows(value: Any, rows: int) -> bool:
    return isinstance(value, Tensor) and value.ndim > 1 and len(value) == rows


def _content(value: Any) -> Hashable:
    if isinstance(value, Tensor):
        return "tensor", value.shape, value.dtype, value.device, value.detach().cpu().numpy().tobytes()
    if isinstance(value, np.ndarray):
        array = cast("np.ndarray[Any, Any]", value)
        return "array", array.shape, array.dtype.str, array.tobytes()
    if isinstance(value, Mapping):
        return "mapping", repr(sorted(cast("Mapping[str, Any]", value).items()))
    return "object", id(value)


def _joined(values: Sequence[Any], rows: int) -> Any:
    first = values[0]
    if isinstance(first, list):
        return [_joined(items, rows) for items in zip(*values, strict=True)]
    return torch.cat(list(values)) if _has_rows(first, rows) else first


def _share(value: Any, mine: slice, total: int) -> Any:
    if isinstance(value, list):
        return [_share(item, mine, total) for item in cast("list[Any]", value)]
    return value[mine] if _has_rows(value, total) else value
