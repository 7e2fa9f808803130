"""Which rows take the next step together. Pure policy: no torch, no clock, no I/O."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

PATIENCE = 32
"""After so many steps that others took, a row takes one, whatever lane it is in."""
STRETCH = 2
"""A row is due after so many turns for each step that it has left: short ones pass long ones, but not for ever."""
TURNS_REMEMBERED = 256
"""Of so many keys at most it is known when they had their last turn."""


class Schedulable(Protocol):
    """What the scheduler needs to know of a row: rows of equal key may share a forward pass."""

    @property
    def key(self) -> Hashable:
        """What must be equal to share a forward pass."""
        ...

    @property
    def remaining(self) -> int:
        """How many steps it has left when it comes."""
        ...


R = TypeVar("R", bound=Schedulable)


@dataclass(slots=True)
class _Entry(Generic[R]):
    lane: int
    due: int
    arrival: int
    row: R
    key: Hashable
    skipped: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        return (-1 if self.skipped >= PATIENCE else self.lane, self.due, self.arrival)


class Scheduler(Generic[R]):
    """Every row is one of a lane; a lower lane goes first, at every step.

    A batch is made of the best lane's rows, and what the padding to the next bucket leaves free is filled with rows of
    the other lanes: they cost nothing there. So nobody who waits for a picture is slowed down by a backlog, and a row
    that began may pause between two steps.

    Within a lane who is due first goes first. A row is due in proportion to its length, as if all were slowed alike:
    a short one passes a long one that came not much earlier, and each waits only for those that come within a bounded
    number of turns after it. Rows of a batch differ in whatever is not in their key: seed, steps done, steps to do,
    guidance.
    """

    def __init__(self, buckets: Callable[[Hashable], Sequence[int]]) -> None:
        """`buckets` tells, for a key, the batch sizes that a forward pass is padded to."""
        self._buckets = buckets
        self._groups: dict[Hashable, list[_Entry[R]]] = {}
        self._entries: dict[int, _Entry[R]] = {}  # by the identity of the row
        self._served: dict[Hashable, int] = {}  # when each key had its last turn
        self._arrivals = 0
        self._turn = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[R]:
        return (entry.row for entry in self._entries.values())

    def add(self, row: R, lane: int) -> None:
        """Let a row take part."""
        entry = _Entry(lane, self._turn + STRETCH * row.remaining, self._arrivals, row, row.key)
        self._arrivals += 1
        self._entries[id(row)] = entry
        self._join_group(entry)

    def refile(self, rows: Sequence[R]) -> None:
        """These rows' keys may have changed; they keep their place and their patience. Unknown ones are ignored."""
        for row in rows:
            entry = self._entries.get(id(row))
            if entry is not None and entry.key != row.key:
                self._leave_group(entry)
                entry.key = row.key
                self._join_group(entry)

    def remove(self, rows: Sequence[R]) -> None:
        """Take out rows that are done or dropped; unknown ones are ignored."""
        for row in rows:
            entry = self._entries.pop(id(row), None)
            if entry is not None:
                self._leave_group(entry)

    def next_batch(self) -> list[R]:
        """The rows that take the next step: those of the key with the best lane; of equal keys, whose turn it is."""
        if not self._groups:
            return []
        for entries in self._groups.values():
            entries.sort(key=lambda entry: entry.rank)  # nearly sorted already: only patience changes the order
        key = min(self._groups, key=lambda key: (self._groups[key][0].rank[0], self._served.get(key, 0)))
        self._turn += 1
        self._served.pop(key, None)
        self._served[key] = self._turn
        if len(self._served) > TURNS_REMEMBERED:
            del self._served[next(iter(self._served))]  # the one whose turn was longest ago
        entries = self._groups[key]
        batch = entries[: self._size([entry.rank[0] for entry in entries], sorted(self._buckets(key)))]
        for entry in self._entries.values():
            entry.skipped += 1
        for entry in batch:
            entry.skipped = 0
        return [entry.row for entry in batch]

    def _join_group(self, entry: _Entry[R]) -> None:
        insort(self._groups.setdefault(entry.key, []), entry, key=lambda other: other.rank)

    def _leave_group(self, entry: _Entry[R]) -> None:
        group = self._groups[entry.key]
        group[:] = [other for other in group if other is not entry]
        if not group:
            del self._groups[entry.key]

    @staticmethod
    def _size(lanes: Sequence[int], buckets: Sequence[int]) -> int:
        """As many as the best lane has, or the largest bucket holds, and then up to the bucket."""
        best = min(sum(lane == lanes[0] for lane in lanes), buckets[-1])
        bucket = next(bucket for bucket in buckets if bucket >= best)
        return min(bucket, len(lanes))
