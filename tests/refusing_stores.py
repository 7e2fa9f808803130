"""A store that refuses some calls for some objects, as buckets do with archived and locked ones."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from obstore.exceptions import GenericError

from limner_shared.storage.blobs import Blobs


class RefusingStore:
    """In place of obstore's store: denies these operations for keys that contain one of `parts`."""

    def __init__(self, store: Any, operations: Collection[str], parts: Collection[str]) -> None:
        self._store, self._operations, self._parts = store, operations, parts

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._store, name)

        def refuse(key: Any = None, *more: Any, **named: Any) -> Any:
            if name in self._operations and any(part in str(key) for part in self._parts):
                raise GenericError("Client error with status code: 403 Forbidden: InvalidObjectState")
            return call(key, *more, **named)

        return refuse


def refusing(blobs: Blobs, operations: Collection[str], *parts: str) -> Blobs:
    """Let the store of these blobs deny operations for keys that contain one of `parts`; returns the blobs."""
    vars(blobs._store)["_store"] = RefusingStore(blobs._store._store, operations, parts)
    return blobs
