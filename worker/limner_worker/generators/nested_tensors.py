"""Tensors in nested outputs: tuples, mappings and the output classes of transformers and diffusers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import Any, Final, TypeGuard, cast

import torch
from torch import Tensor

PLAIN: Final = (bool, int, float, complex, str, bytes, torch.dtype, torch.device)
"""Types whose values are compared by content."""


def is_list(value: Any) -> TypeGuard[list[Any]]:
    """Whether a value is a list."""
    return isinstance(value, list)


def is_mapping(value: Any) -> TypeGuard[Mapping[Any, Any]]:
    """Whether a value is a mapping, such as an output of transformers."""
    return isinstance(value, Mapping)


def leaves(output: Any) -> list[Tensor]:
    """Return the tensors of an output, always in the same order."""
    found: list[Tensor] = []
    map_leaves(output, lambda leaf: found.append(leaf) if isinstance(leaf, Tensor) else None)
    return found


def filled(example: Any, tensors: Mapping[int, Tensor], device: torch.device) -> Any:
    """Return an output like the example that holds these tensors, by their position among its tensors.

    Those that are missing are on no device. Returns None if there are none, or their ranks or dtypes differ; their
    shapes may differ, since texts differ in length.
    """
    known = leaves(example)
    for number, tensor in tensors.items():
        if number >= len(known) or (known[number].ndim, known[number].dtype) != (tensor.ndim, tensor.dtype):
            return None
    if not tensors:
        return None
    numbers = count()

    def leaf(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        number = next(numbers)
        return tensors[number].to(device) if number in tensors else value.to("meta")

    return map_leaves(example, leaf)


def size_in_bytes(output: Any) -> int:
    """Return the size of an output's tensors, without those that are on no device."""
    return sum(tensor.nbytes for tensor in leaves(output) if not tensor.is_meta)


def owned(output: Any) -> Any:
    """Return a copy without views of larger tensors, such as a batch, and without objects of unknown types."""
    return map_leaves(output, lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else plain_or_none(leaf))


def plain_or_none(leaf: Any) -> Any:
    """Return a leaf of a known type, or None in place of any other object."""
    return cast("Any", leaf) if isinstance(leaf, (*PLAIN, list)) else None


def divided(value: Any, count: int, divide: Callable[[Any], list[Any]]) -> list[Any]:
    """Divide a value in tuples and in the output classes of transformers and diffusers into `count` values like it.

    `divide` returns the shares of anything else.
    """
    if is_mapping(value):
        named = {key: divided(inner, count, divide) for key, inner in value.items()}
        return [_like(value, {key: shares[number] for key, shares in named.items()}) for number in range(count)]
    if isinstance(value, tuple):
        parts = [divided(inner, count, divide) for inner in cast("tuple[Any, ...]", value)]
        return [tuple(part[number] for part in parts) for number in range(count)]
    return divide(value)


def _like(example: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Return a mapping of the example's type; the keys of plain dictionaries need not be names."""
    return values if type(example) is dict else example.__class__(**values)


def map_leaves(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Apply `leaf` to the tensors and lists in tuples and in the output classes of transformers and diffusers."""
    if is_mapping(value):
        return _like(value, {key: map_leaves(inner, leaf) for key, inner in value.items()})
    if isinstance(value, tuple):
        return tuple(map_leaves(inner, leaf) for inner in cast("tuple[Any, ...]", value))
    return leaf(value)
