"""How much a worker takes in hand: so many jobs of each lane, and nothing beside a job that is to run alone.

Kombu asks a queue order before each fetch which queues to look at; ours leaves out the lanes that are full. So a
backlog never fills the places of those who come first, and messages wait in Redis, where other workers can get them.
"""

from __future__ import annotations

import threading
from collections import Counter

from limner_shared.celery_app import lane_of
from limner_shared.jobs import Lane


class Admission:
    """Counts the jobs in hand, from a message's arrival to its acknowledgement. Safe from any thread."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._held: Counter[Lane] = Counter()
        self._lock = threading.Lock()

    def arrived(self, lane: Lane, jobs: int) -> None:
        """A message came in."""
        with self._lock:
            self._held[lane] += jobs

    def left(self, lane: Lane, jobs: int = 1) -> None:
        """Some of its jobs are done with."""
        with self._lock:
            self._held[lane] -= jobs

    def is_open(self, lane: Lane) -> bool:
        """Whether one more message of a lane may be fetched."""
        with self._lock:
            if self._held[Lane.ALONE]:
                return False
            return self._held[lane] < self._slots


def queue_order(admission: Admission) -> type:
    """The class to give to kombu as `queue_order_strategy`, which makes the instance itself."""

    class QueueOrder:
        """The open queues, the better lane first; within a lane, models take turns."""

        def __init__(self) -> None:
            self._queues: list[str] = []

        def update(self, queues: list[str]) -> None:
            """These are consumed now."""
            self._queues = sorted(queues, key=lane_of)

        def consume(self, n: int) -> list[str]:
            """Where the next message may come from; none while everything is full."""
            return [queue for queue in self._queues[:n] if admission.is_open(lane_of(queue))]

        def rotate(self, last_used: str) -> str:
            """The queue that gave a message goes behind the others of its lane."""
            if last_used in self._queues:
                self._queues.remove(last_used)
                self._queues.append(last_used)
                self._queues.sort(key=lane_of)
            return last_used

    return QueueOrder
