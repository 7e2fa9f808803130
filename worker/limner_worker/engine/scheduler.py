"""Which rows take the next step together. Pure policy: no torch, no clock, no I/O."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

PATIENCE = 32
"""After so many steps that others took, a row takes one, whatever lane it is in."""


class Schedulable(Protocol):
    """What the scheduler needs to know of a row: rows of equal key may share a forward pass."""

    @property
    def key(self) -> Hashable:
        """What must be equal to share a forward pass."""
        ...


R = TypeVar("R", bound=Schedulable)


@dataclass(slots=True)
class _Entry(Generic[R]):
    lane: int
    arrival: int
    row: R
    skipped: int = 0

    @property
    def rank(self) -> tuple[int, int]:
        return (-1 if self.skipped >= PATIENCE else self.lane, self.arrival)


class Scheduler(Generic[R]):
    """Every row is one of a lane; a lower lane goes first, at every step.

    A batch is made of the best lane's rows, the oldest first, and what the padding to the next bucket leaves free is
    filled with rows of the other lanes: they cost nothing there. So nobody who waits for a picture is slowed down by a
    backlog, and a row that began may pause between two steps. Rows of a batch differ in whatever is not in their key:
    seed, steps done, steps to do, guidance.
    """

    def __init__(self, buckets: Callable[[Hashable], Sequence[int]]) -> None:
        """`buckets` tells, for a key, the batch sizes that a forward pass is padded to."""
        self._buckets = buckets
        self._rows: dict[Hashable, list[_Entry[R]]] = {}
        self._served: dict[Hashable, int] = {}  # when each key had its last turn
        self._arrivals = 0
        self._turn = 0

    def __len__(self) -> int:
        return sum(map(len, self._rows.values()))

    def add(self, row: R, lane: int) -> None:
        """Let a row take part."""
        insort(self._rows.setdefault(row.key, []), _Entry(lane, self._arrivals, row), key=lambda entry: entry.rank)
        self._arrivals += 1

    def next_batch(self) -> list[R]:
        """The rows that take the next step: those of the key with the best lane; of equal keys, whose turn it is."""
        if not self._rows:
            return []
        for entries in self._rows.values():
            entries.sort(key=lambda entry: entry.rank)  # nearly sorted already: only patience changes the order
        key = min(self._rows, key=lambda key: (self._rows[key][0].rank[0], self._served.get(key, 0)))
        self._turn += 1
        self._served[key] = self._turn
        entries = self._rows[key]
        size = self._size([entry.rank[0] for entry in entries], sorted(self._buckets(key)))
        batch = entries[:size]
        chosen = {id(entry) for entry in batch}
        for others in self._rows.values():
            for entry in others:
                entry.skipped = 0 if id(entry) in chosen else entry.skipped + 1
        return [entry.row for entry in batch]

    def remove(self, rows: Sequence[R]) -> None:
        """Take out rows that are done or dropped; unknown ones are ignored."""
        gone = {id(row) for row in rows}
        for key in {row.key for row in rows} & self._rows.keys():
            self._rows[key] = [entry for entry in self._rows[key] if id(entry.row) not in gone]
            if not self._rows[key]:
                del self._rows[key]
                self._served.pop(key, None)

    @staticmethod
    def _size(lanes: Sequence[int], buckets: Sequence[int]) -> int:
        """As many as the best lane has, or the largest bucket holds, and then up to the bucket."""
        best = min(sum(lane == lanes[0] for lane in lanes), buckets[-1])
        bucket = next(bucket for bucket in buckets if bucket >= best)
        return min(bucket, len(lanes))
