"""Which rows take the next step together. Pure policy: no torch, no clock, no I/O."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, Protocol, TypeVar


class Schedulable(Protocol):
    """What the scheduler needs to know of a row: rows of equal key may share a forward pass."""

    @property
    def key(self) -> Hashable:
        """What must be equal to share a forward pass."""
        ...


R = TypeVar("R", bound=Schedulable)


class Scheduler(Generic[R]):
    """Rows wait by priority, then by age. Each key has at most `capacity(key)` active rows; keys take turns.

    The rows of a batch differ in whatever is not in their key: seed, steps done, steps to do, guidance. A row that
    is admitted stays active until it is removed, so that nothing that has begun is held up by what came later.
    """

    def __init__(self, capacity: Callable[[Hashable], int]) -> None:
        self._capacity = capacity
        self._waiting: dict[Hashable, list[tuple[int, int, R]]] = {}
        self._active: dict[Hashable, list[R]] = {}
        self._turns: deque[Hashable] = deque()
        self._arrivals = 0

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) + sum(map(len, self._active.values()))

    def add(self, row: R, priority: int) -> None:
        """Let a row wait; a lower `priority` is served first."""
        if row.key not in self._turns:
            self._turns.append(row.key)
        heapq.heappush(self._waiting.setdefault(row.key, []), (priority, self._arrivals, row))
        self._arrivals += 1

    def next_batch(self) -> list[R]:
        """Admit what waits into the free places of the key whose turn it is, and return all its active rows."""
        if not self._turns:
            return []
        key = self._turns[0]
        self._turns.rotate(-1)
        active = self._active.setdefault(key, [])
        waiting = self._waiting.get(key, [])
        while waiting and len(active) < self._capacity(key):
            active.append(heapq.heappop(waiting)[2])
        return list(active)

    def remove(self, rows: Sequence[R]) -> None:
        """Take out rows that are done or dropped, active or waiting; unknown ones are ignored."""
        gone = {id(row) for row in rows}
        for key in {row.key for row in rows}:
            self._active[key] = [row for row in self._active.get(key, []) if id(row) not in gone]
            self._waiting[key] = [entry for entry in self._waiting.get(key, []) if id(entry[2]) not in gone]
            heapq.heapify(self._waiting[key])
            if not self._active[key] and not self._waiting[key]:
                del self._active[key], self._waiting[key]
                if key in self._turns:
                    self._turns.remove(key)
