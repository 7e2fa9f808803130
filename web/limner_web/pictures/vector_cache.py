"""Vectors of a tenant's images in memory, and the ranking of all of them by their likeness to one.

Comparing an image with 100,000 others takes a few milliseconds once their vectors are here.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from limner_shared.db import embeddings
from limner_shared.db.engine import Database
from limner_shared.domain.embeddings import DIMENSIONS, VECTOR_BYTES, VECTOR_TYPE, Embedding
from limner_shared.domain.ids import first_id
from limner_web.serving.offload import OffloadPool

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy import Row

MAX_VECTORS: Final = 200_000
"""The newest images of a tenant that are compared: 32 MB."""
MAX_HELD: Final = 500_000
"""Vectors of all tenants that a process keeps; those of the tenants that searched longest ago are dropped first."""
READ_AT_ONCE: Final = 5_000
REFRESH_SECONDS: Final = 1.0
"""A new image is found after this time."""
OVERLAP_SECONDS: Final = 120.0
"""Each refresh looks back as far: a transaction may commit late, and the clock that an id is made by may be slow."""
RELOAD_SECONDS: Final = 3600.0
"""After this time all vectors are read again."""
IDLE_SECONDS: Final = 300.0
"""They are also read again after a time without a search, in which many images may have been stored."""
SCALE: Final = 2048
"""Vectors are compared as integers of this scale. Each sum of products is then below 2**24, so float32 has it exactly,
in any order of additions: every process ranks alike, and a cursor of one is valid in another."""
ROWS_AT_ONCE: Final = 4096
"""Rows that are multiplied at once: few enough that the threads of numpy's library, which would wait for each other
longer than the product takes, have no part in it."""
ID_CHARS: Final = 40


class Place(NamedTuple):
    """An image's place in a ranking: a higher `score` comes first, then the newer image."""

    score: int
    image_id: str

    @property
    def similarity(self) -> float:
        """The cosine of the two vectors."""
        return round(min(1.0, self.score / SCALE**2), 4)


@dataclass(frozen=True, slots=True)
class _Held:
    """A tenant's vectors of one encoder, in the order of their ids."""

    ids: NDArray[np.bytes_]  # [N]
    vectors: NDArray[np.int16]  # [N, DIMENSIONS], scaled by SCALE
    loaded_at: float
    refreshed_at: float

    def is_recent(self, now: float, seconds: float) -> bool:
        """Whether the last refresh was less than `seconds` ago; never if the clock was set back."""
        return 0 <= now - self.refreshed_at < seconds


class VectorCache:
    """The vectors of the tenants that searched last. Safe for greenlets and threads."""

    def __init__(self, database: Database, tenant_share: float = 1.0) -> None:
        self._database = database
        self._threads = OffloadPool(1, 32, tenant_share, work="searches for similar images are running")
        self._held: OrderedDict[tuple[str, str], _Held] = OrderedDict()
        self._locks: WeakValueDictionary[tuple[str, str], threading.Lock] = WeakValueDictionary()

    def rank(self, tenant_id: str, like: Embedding, limit: int, after: Place | None) -> list[Place]:
        """Return the tenant's images that are most like this vector, the best first, at most `limit`, those after a
        place. May name images that were deleted.

        Raises Overloaded.
        """
        held = self._current((tenant_id, like.encoder))
        return self._threads.call_for(tenant_id, _ranked, held.ids, held.vectors, like.vector, limit, after)

    def forget(self, tenant_id: str, encoder: str, image_ids: Iterable[str]) -> None:
        """Drop the vectors of deleted images."""
        import numpy as np  # noqa: PLC0415 - a process that never searches does without its 20 MB

        held = self._held.get((tenant_id, encoder))
        gone = _ids(image_ids)
        if held is not None and len(gone):
            kept = ~np.isin(held.ids, gone)
            self._held[tenant_id, encoder] = replace(held, ids=held.ids[kept], vectors=held.vectors[kept])

    def _current(self, key: tuple[str, str]) -> _Held:
        """The vectors, read if they are not here, and refreshed if they are older than REFRESH_SECONDS."""
        # Concurrent searches wait for the first instead of reading the same vectors.
        with self._locks.setdefault(key, threading.Lock()):
            now = time.time()
            held = self._held.get(key)
            if held is None or not (0 <= now - held.loaded_at < RELOAD_SECONDS and held.is_recent(now, IDLE_SECONDS)):
                held = self._load(key, now)
            elif not held.is_recent(now, REFRESH_SECONDS):
                held = self._refresh(key, held, now)
            self._held[key] = held
            self._held.move_to_end(key)
            self._shrink()
            return held

    def _load(self, key: tuple[str, str], now: float) -> _Held:
        parts = [_packed([])]
        read, before = 0, None
        while read < MAX_VECTORS:
            count = min(READ_AT_ONCE, MAX_VECTORS - read)
            with self._database.read() as session:
                rows = embeddings.newest_vectors(session, *key, count, before)
            parts.append(_packed(rows))
            if len(rows) < count:
                break
            read, before = read + count, rows[-1].image_id
        return _Held(*_merged(parts), loaded_at=now, refreshed_at=now)

    def _refresh(self, key: tuple[str, str], held: _Held, now: float) -> _Held:
        """Add the images that were stored since the last refresh."""
        import numpy as np  # noqa: PLC0415

        first = first_id("img", held.refreshed_at - OVERLAP_SECONDS)
        with self._database.read() as session:
            stored = embeddings.ids_since(session, *key, first)
        known = held.ids[np.searchsorted(held.ids, first.encode()) :]
        new = sorted(stored.difference(_texts(known)))
        parts = [(held.ids, held.vectors)]
        for start in range(0, len(new), READ_AT_ONCE):
            with self._database.read() as session:
                parts.append(_packed(embeddings.vectors_of(session, *key, new[start : start + READ_AT_ONCE])))
        ids, vectors = _merged(parts) if new else parts[0]
        return replace(held, ids=ids, vectors=vectors, refreshed_at=now)

    def _shrink(self) -> None:
        while len(self._held) > 1 and sum(len(held.ids) for held in self._held.values()) > MAX_HELD:
            self._held.popitem(last=False)


def _packed(rows: Sequence[Row[str, bytes]]) -> tuple[NDArray[np.bytes_], NDArray[np.int16]]:
    """The ids and the scaled vectors of rows; a damaged vector is left out."""
    import numpy as np  # noqa: PLC0415

    whole = [row for row in rows if len(row.vector) == VECTOR_BYTES]
    return _ids(row.image_id for row in whole), _scaled(b"".join(row.vector for row in whole)).astype(np.int16)


def _merged(
    parts: Sequence[tuple[NDArray[np.bytes_], NDArray[np.int16]]],
) -> tuple[NDArray[np.bytes_], NDArray[np.int16]]:
    """The newest MAX_VECTORS ids and vectors of all parts, in the order of the ids."""
    import numpy as np  # noqa: PLC0415

    ids, vectors = (np.concatenate(each) for each in zip(*parts, strict=True))
    order = np.argsort(ids, kind="stable")[-MAX_VECTORS:]
    return ids[order], vectors[order]


def _ids(image_ids: Iterable[str]) -> NDArray[np.bytes_]:
    import numpy as np  # noqa: PLC0415

    return np.array([image_id.encode() for image_id in image_ids], f"S{ID_CHARS}")


def _texts(ids: NDArray[np.bytes_]) -> list[str]:
    found: list[bytes] = ids.tolist()
    return [each.decode() for each in found]


def _scaled(vectors: bytes) -> NDArray[np.float32]:
    """Stored vectors as whole numbers: float32 [N, DIMENSIONS]."""
    import numpy as np  # noqa: PLC0415

    floats = np.frombuffer(vectors, VECTOR_TYPE).astype(np.float32).reshape(-1, DIMENSIONS)
    # A damaged vector may hold anything.
    return np.rint(np.clip(np.nan_to_num(floats), -1, 1) * SCALE)


def _ranked(
    ids: NDArray[np.bytes_], vectors: NDArray[np.int16], like: bytes, limit: int, after: Place | None
) -> list[Place]:
    import numpy as np  # noqa: PLC0415

    wanted = _scaled(like)[0]
    starts = range(0, len(ids), ROWS_AT_ONCE)
    blocks = [vectors[start : start + ROWS_AT_ONCE].astype(np.float32) @ wanted for start in starts]
    scores = np.concatenate(blocks).astype(np.int32) if blocks else np.zeros(0, np.int32)
    rows = np.arange(len(ids))
    if after is not None:
        left = (scores < after.score) | ((scores == after.score) & (ids < after.image_id.encode()))
        rows = np.flatnonzero(left)
    if len(rows) > limit:
        least = np.partition(scores[rows], len(rows) - limit)[len(rows) - limit]
        rows = rows[scores[rows] >= least]
    best = rows[np.lexsort((ids[rows], scores[rows]))[::-1]][:limit]
    return [Place(score, image_id) for score, image_id in zip(scores[best].tolist(), _texts(ids[best]), strict=True)]
