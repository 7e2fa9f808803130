"""The batching policy: which rows take the next step together. Pure policy: no torch, no clock, no I/O."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from limner_shared.recent_entries import keep_newest

MAX_SKIPPED_TURNS: Final = 32
"""After being skipped in this many turns, a row goes first, whatever its lane."""
TURNS_PER_STEP: Final = 2
"""A row is due this many turns after its arrival for each of its steps and places. Short rows pass long ones, but only
those that arrived within a bounded number of turns."""
MAX_SERVED_KEYS: Final = 256
"""Keys whose last turn is kept; the one served longest ago is discarded first."""


class Schedulable(Protocol):
    """What the scheduler reads of a row."""

    @property
    def key(self) -> Hashable:
        """Rows with equal keys may share a forward pass."""
        ...

    @property
    def remaining(self) -> int:
        """The number of steps still to do."""
        ...

    @property
    def width(self) -> int:
        """How many places of a batch it takes."""
        ...


R = TypeVar("R", bound=Schedulable)


def total_width(rows: Sequence[Schedulable]) -> int:
    """Return how many places of a batch rows take together."""
    return sum(row.width for row in rows)


@dataclass(frozen=True, slots=True)
class Setups:
    """What models are set to for their calls, such as their adapters, which takes time to change."""

    of: Callable[[Hashable], tuple[Hashable, Hashable]]
    """Returns, for a key, the model and what it must be set to."""
    turns: Callable[[Hashable], int]
    """Returns, for a key, for how many turns in a row its model may keep its setup while others wait."""


@dataclass(slots=True)
class _Entry(Generic[R]):
    lane: int
    due: int
    arrival: int
    row: R
    key: Hashable
    width: int
    skipped: int = 0

    @property
    def rank(self) -> tuple[int, int, int]:
        return (-1 if self.skipped >= MAX_SKIPPED_TURNS else self.lane, self.due, self.arrival)


class Scheduler(Generic[R]):
    """Chooses the batch of each step. Every row has a lane; the lane with the lowest number goes first, at every step.

    A batch takes the rows of the best lane. The places that padding to the next bucket leaves free are filled with rows
    of other lanes, which cost nothing there. So a backlog does not slow down a better lane, and a row that has started
    may pause between two steps.

    Within a lane, the row that is due first goes first. The due turn is proportional to the row's work, its steps times
    its places, so that all rows are slowed down by the same factor: a short row passes a long one that arrived shortly
    before it, and each row waits only for rows that arrive within a bounded number of turns after it. Where the next
    row is too wide for the places that are left, narrower ones that are due later take them. Rows of one batch may
    differ in all that is not in their key: seed, steps done, steps to do, guidance.

    A model keeps its setup for a few turns, so that keys which need different ones do not change it at each step. This
    delays no row of a better lane.
    """

    def __init__(
        self,
        buckets: Callable[[Hashable], Sequence[int]],
        setups: Setups | None = None,
        unpadded: Callable[[Sequence[R]], int] = total_width,
    ) -> None:
        """`buckets` returns, for a key, the batch sizes that a forward pass is padded to, and `unpadded` how many
        places of a batch rows that do not fill one may take.
        """
        self._buckets = buckets
        self._unpadded = unpadded
        self._setups = setups
        self._kept: dict[Hashable, tuple[Hashable, int]] = {}
        """What each model is set to, and for how many turns in a row."""
        self._groups: dict[Hashable, list[_Entry[R]]] = {}
        self._entries: dict[int, _Entry[R]] = {}  # by the row's id()
        self._served: dict[Hashable, int] = {}  # the last turn of each key, in the order of these turns
        self._arrivals = 0
        self._turn = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[R]:
        return (entry.row for entry in self._entries.values())

    def add(self, row: R, lane: int) -> None:
        """Add a row with its lane."""
        due = self._turn + TURNS_PER_STEP * row.remaining * row.width
        entry = _Entry(lane, due, self._arrivals, row, row.key, row.width)
        self._arrivals += 1
        self._entries[id(row)] = entry
        self._join_group(entry)

    def regroup(self, rows: Sequence[R]) -> None:
        """Move rows whose key has changed; they keep due and skipped turns. Unknown rows are ignored."""
        for row in rows:
            entry = self._entries.get(id(row))
            if entry is not None and entry.key != row.key:
                self._leave_group(entry)
                entry.key = row.key
                self._join_group(entry)

    def remove(self, rows: Sequence[R]) -> None:
        """Remove rows that are finished or aborted. Unknown rows are ignored."""
        for row in rows:
            entry = self._entries.pop(id(row), None)
            if entry is not None:
                self._leave_group(entry)

    def next_batch(self) -> list[R]:
        """Return the rows that take the next step, of the key with the best lane; empty if there are no rows.

        Keys with equally good lanes take turns; several turns each, if their model must be set up differently for them.
        """
        if not self._groups:
            return []
        for entries in self._groups.values():
            entries.sort(key=lambda entry: entry.rank)  # nearly sorted already: only skipped turns change the order
        key = min(self._groups, key=self._precedence)
        if self._setups is not None:
            key = self._keep_setup(key, self._setups)
        self._turn += 1
        keep_newest(self._served, key, self._turn, MAX_SERVED_KEYS)
        entries = self._groups[key]
        batch = _fitting(entries, self._places(entries, sorted(self._buckets(key))))
        for entry in self._entries.values():
            entry.skipped += 1
        for entry in batch:
            entry.skipped = 0
        return [entry.row for entry in batch]

    def _precedence(self, key: Hashable) -> tuple[int, int]:
        return self._groups[key][0].rank[0], self._served.get(key, 0)

    def _keep_setup(self, key: Hashable, setups: Setups) -> Hashable:
        """Return the key that goes first, or another one, no worse, for which its model is set up already."""
        model, wanted = setups.of(key)
        now, turns = self._kept.get(model, (wanted, 0))
        if now != wanted:
            lane = self._groups[key][0].lane
            ready = [
                other
                for other, entries in self._groups.items()
                if entries[0].lane <= lane and setups.of(other) == (model, now) and turns < setups.turns(other)
            ]
            if ready:
                key, wanted = min(ready, key=self._precedence), now
        self._kept[model] = wanted, turns + 1 if now == wanted else 1
        return key

    def _join_group(self, entry: _Entry[R]) -> None:
        insort(self._groups.setdefault(entry.key, []), entry, key=lambda other: other.rank)

    def _leave_group(self, entry: _Entry[R]) -> None:
        group = self._groups[entry.key]
        group[:] = [other for other in group if other is not entry]
        if not group:
            del self._groups[entry.key]

    def _places(self, entries: Sequence[_Entry[R]], buckets: Sequence[int]) -> int:
        """Return how many places entries in rank order may take: the best lane's rows, filled up to their bucket with
        other lanes, or fewer if all of them leave a part of it to padding.
        """
        lane = entries[0].rank[0]
        best = min(sum(entry.width for entry in entries if entry.rank[0] == lane), buckets[-1])
        bucket = next(bucket for bucket in buckets if bucket >= best)
        filled = bucket <= sum(entry.width for entry in entries)
        return bucket if filled else self._unpadded([entry.row for entry in entries])


def _fitting(entries: Sequence[_Entry[R]], places: int) -> list[_Entry[R]]:
    """Return the entries, in order, that fit into this many places; at least the first."""
    chosen: list[_Entry[R]] = []
    for entry in entries:
        if not chosen or entry.width <= places:
            chosen.append(entry)
            places -= entry.width
    return chosen
