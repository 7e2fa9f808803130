"""Tensors in nested outputs: tuples, mappings and the output classes of transformers and diffusers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor

PLAIN: Final = (bool, int, float, complex, str, bytes, torch.dtype, torch.device)
"""Types whose values are compared by content."""


def leaves(output: Any) -> list[Tensor]:
    """Return the tensors of an output, always in the same order."""
    found: list[Tensor] = []
    map_leaves(output, lambda leaf: found.append(leaf) if isinstance(leaf, Tensor) else None)
    return found


def filled(example: Any, tensors: Sequence[Tensor]) -> Any:
    """Return an output like the example that holds these tensors; None if their ranks or dtypes differ.

    Their shapes may differ, since texts differ in length.
    """
    if [(each.ndim, each.dtype) for each in leaves(example)] != [(each.ndim, each.dtype) for each in tensors]:
        return None
    rest = iter(tensors)
    return map_leaves(example, lambda leaf: next(rest).to(leaf.device) if isinstance(leaf, Tensor) else leaf)


def size_in_bytes(output: Any) -> int:
    """Return the size of an output's tensors."""
    return sum(tensor.nbytes for tensor in leaves(output))


def owned(output: Any) -> Any:
    """Return a copy without views of larger tensors, such as a batch, and without objects of unknown types."""
    return map_leaves(output, lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else plain_or_none(leaf))


def plain_or_none(leaf: Any) -> Any:
    """Return a leaf of a known type, or None in place of any other object."""
    return leaf if isinstance(leaf, (*PLAIN, list)) else None


def map_leaves(value: Any, leaf: Callable[[Any], Any]) -> Any:
    """Apply `leaf` to the tensors and lists in tuples and in the output classes of transformers and diffusers."""
    if isinstance(value, Mapping):
        return type(value)(**{key: map_leaves(inner, leaf) for key, inner in value.items()})
    if isinstance(value, tuple):
        return tuple(map_leaves(inner, leaf) for inner in value)
    return leaf(value)
