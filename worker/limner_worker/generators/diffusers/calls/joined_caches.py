"""Key-value caches that a denoiser fills in its first call and reads in the later ones: those of several images as one.

Each image keeps its own cache, so images may join and leave between two calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

CACHES: Final = frozenset({"QwenImage21KVCache"})
"""Names of their classes; a cache of another class keeps its image apart."""
CACHE: Final = "cache"
"""Their part in the key of a call: images of equal keys may have caches of their own."""


def is_cache(value: Any) -> bool:
    """Return whether a value is a cache that can be joined with others."""
    return type(value).__name__ in CACHES


class JoinedCache:
    """Has the methods of a cache that a denoiser uses."""

    def __init__(self, caches: Sequence[Any], rows: int) -> None:
        """Each of the images has `rows` rows."""
        self._caches = caches
        self._rows = rows

    def get_layer(self, index: int) -> JoinedLayer:
        """Return the cache of one layer."""
        return JoinedLayer([cache.get_layer(index) for cache in self._caches], self._rows)


class JoinedLayer:
    """The caches of one layer."""

    def __init__(self, layers: Sequence[Any], rows: int) -> None:
        self._layers = layers
        self._rows = rows

    def store(self, keys: Tensor, values: Tensor) -> None:
        """Divide keys and values among the images; each gets a copy, since a view would keep those of all."""
        keys_of_each, values_of_each = (torch.split(each, self._rows) for each in (keys, values))
        for layer, own_keys, own_values in zip(self._layers, keys_of_each, values_of_each, strict=True):
            layer.store(own_keys.clone(), own_values.clone())

    def get(self) -> tuple[Tensor, Tensor]:
        """Return the keys and values of all images."""
        keys, values = zip(*(layer.get() for layer in self._layers), strict=True)
        return torch.cat(keys), torch.cat(values)
