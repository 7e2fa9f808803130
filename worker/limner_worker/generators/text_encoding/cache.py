"""An in-memory cache bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class ByteCache(Generic[K, V]):
    """A least-recently-used cache with a size limit in bytes. For one thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """Return the cached value, or None."""
        found = self._known.get(key)
        if found is None:
            return None
        self._known.move_to_end(key)
        return found[0]

    def put(self, key: K, value: V, nbytes: int) -> bool:
        """Store a value of `nbytes` bytes, and evict the least recently used values to make room.

        Returns False, and evicts nothing, if the value alone exceeds the limit.
        """
        self._bytes -= self._known.pop(key, (value, 0))[1]
        if nbytes > self._max_bytes:
            return False
        self._bytes += nbytes
        self._known[key] = value, nbytes
        while self._bytes > self._max_bytes:
            self._bytes -= self._known.popitem(last=False)[1][1]
        return True
