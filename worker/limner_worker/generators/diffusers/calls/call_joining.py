"""Joins the arguments of several calls of a module into those of one, and splits its output among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limner_worker.generators.base import Padding
from limner_worker.generators.diffusers.calls.call_batching import TIMES, Call, length_of
from limner_worker.generators.diffusers.calls.joined_caches import JoinedCache, is_cache
from limner_worker.generators.diffusers.calls.layered_tensors import (
    LAYERED,
    dimension_of_rows,
    divided_layers,
    joined_layers,
    scaled,
)
from limner_worker.generators.nested_tensors import divided, is_list, is_mapping, plain_or_none


class UnknownLayout(Exception):
    """The output of a joined call cannot be split into rows."""


def alike(images: Sequence[Any]) -> list[Any]:
    """Those of the images whose calls may be joined with that of the first."""
    return [image for image in images if image.key == images[0].key]


def join(calls: Sequence[Call], batch: Padding) -> dict[str, Any]:
    """Return the arguments of one joined call, padded with the rows of the first."""
    filled = batch.filled(calls)
    return {name: _join(name, [call.arguments[name] for call in filled], filled[0].rows) for name in calls[0].arguments}


def split(output: Any, calls: Sequence[Call], batch: Padding) -> list[Any]:
    """Split the output of a joined call into the output of each call. Objects of unknown type, such as the key-value
    cache of all rows, are replaced by None. Raises UnknownLayout for a tensor that does not have the rows of all calls.
    """
    if batch.size == 1:
        return [scaled(output, calls[0].scale)]
    divide = divided_layers if calls[0].layered else divided
    shares = divide(output, batch.size, lambda value: _shares(value, calls[0].rows, batch.size))
    own = shares[batch.place : batch.place + len(calls)]
    return [scaled(share, call.scale) for share, call in zip(own, calls, strict=True)]


def _join(name: str, values: Sequence[Any], rows: int) -> Any:
    if name in LAYERED:
        return joined_layers(values, rows)
    first = values[0]
    if isinstance(first, Tensor):
        if name in TIMES and first.ndim <= 1:
            return _join_times(values, rows)
        dimension = dimension_of_rows(name, first, rows)
        # A network's last bits depend on how its input lies in memory, which no other image may change.
        return first if dimension is None else torch.cat(list(values), dim=dimension).contiguous()
    if is_list(first) and len(first) == rows:
        return [item for value in values for item in value]
    if is_mapping(first):
        return {key: _join(key, [value[key] for value in values], rows) for key in first}
    return JoinedCache(values, rows) if is_cache(first) and len(values) > 1 else first


def _join_times(values: Sequence[Tensor], rows: int) -> Tensor:
    """Join times, of which each call has one for all its rows or one for each. A view for each call would take longer
    than the joining.
    """
    if all(not value.ndim for value in values):
        return torch.stack([value for value in values for _ in range(rows)])
    if all(value.ndim and value.shape[0] == rows for value in values):
        return torch.cat(list(values))
    return torch.cat([value.expand(rows) for value in values])


def _shares(value: Any, rows: int, size: int) -> list[Any]:
    """Return the shares of a tensor or list of the rows of `size` calls; other values are shared."""
    if not isinstance(value, (list, Tensor)):
        return [plain_or_none(value)] * size
    if isinstance(value, Tensor) and not value.ndim:
        return [value] * size
    if length_of(value) != rows * size:
        raise UnknownLayout(f"{length_of(value)} instead of {rows * size} rows")
    if isinstance(value, Tensor):
        return list(torch.split(value, rows))
    return [value[number * rows : (number + 1) * rows] for number in range(size)]
