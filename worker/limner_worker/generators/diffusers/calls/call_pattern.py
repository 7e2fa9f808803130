"""Recognises a call like an image's last one: its key is the same, so it need not be computed at each step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

import torch
from torch import Tensor

from limner_worker.generators.nested_tensors import PLAIN

LAYERS: Final = "layers"
"""The first item of the key part of a control network's output, which is another one at each step."""
SHAPED: Final = ("rows", "time")
"""The first items of the key parts of tensors that depend on shape and dtype only."""


@dataclass(eq=False, slots=True)
class CallPattern:
    """What the arguments of a call must have in common with those of the last call to have the same key."""

    value: Any = None
    """It is this object; tensors are compared so unless only their shape counts."""
    shape: torch.Size | None = None
    dtype: torch.dtype | None = None
    """If given, it is a tensor of this shape and dtype."""
    inner: dict[str, CallPattern] | None = None
    """If given, it is a dictionary whose values are like these."""

    @classmethod
    def of_argument(cls, value: Any, part: Any) -> CallPattern | None:
        """Return what determines an argument's `part` of the key; None if the argument may change in place."""
        if isinstance(value, Tensor):
            shaped = (part[0] if isinstance(part, tuple) else part) in SHAPED
            return cls(shape=value.shape, dtype=value.dtype) if shaped else cls(value)
        if type(value) is dict and part[:1] != (LAYERS,):
            parts = dict(cast("tuple[tuple[str, Any], ...]", part))
            return cls.of_arguments(cast("dict[str, Any]", value), parts)
        return cls(value) if value is None or isinstance(value, PLAIN) else None

    @classmethod
    def of_arguments(cls, arguments: Mapping[str, Any], parts: Mapping[str, Any]) -> CallPattern | None:
        """Return what determines the parts of several arguments."""
        inner = {name: cls.of_argument(value, parts[name]) for name, value in arguments.items()}
        known = {name: each for name, each in inner.items() if each is not None}
        return cls(inner=known) if len(known) == len(inner) else None

    def matches(self, value: Any) -> bool:
        """Whether an argument is like the earlier one. This runs at each step of each image, so it calls little."""
        if self.inner is None:
            if self.shape is None:
                return value is self.value
            return isinstance(value, Tensor) and value.dtype is self.dtype and value.shape == self.shape
        if type(value) is not dict or len(cast("dict[str, Any]", value)) != len(self.inner):
            return False
        for (name, each), (given, inner) in zip(self.inner.items(), cast("dict[str, Any]", value).items(), strict=True):
            by_identity = each.inner is None and each.shape is None
            if name != given or not (inner is each.value if by_identity else each.matches(inner)):
                return False
        return True
