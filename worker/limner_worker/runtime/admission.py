"""How much a worker takes in hand: a number of jobs of each lane, nothing beside a job that is to run alone, and
nothing of a model that fails or for a picture store that cannot be written.

Before each fetch kombu asks a queue order which queues to look at. Ours leaves out the queues that are closed, so a
backlog never fills the places of better lanes, and messages wait in Redis, where other workers can get them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final

from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import lane_of, model_of

FAILURES_IN_A_ROW: Final = 8
"""Jobs of one model that fail one after another before the worker stops taking its jobs."""
MODEL_PAUSE_SECONDS: Final = 10.0
STORE_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 60.0


class Admission:
    """Counts the jobs in hand, from a message's arrival to its acknowledgement. Safe from any thread."""

    def __init__(self, slots: int, models: Iterable[str]) -> None:
        self._slots = slots
        self._held: Counter[Lane] = Counter()
        self._held_of_model: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.models = {
            model: Breaker(FAILURES_IN_A_ROW, MODEL_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS) for model in models
        }
        """What each model's jobs tell of it."""
        self.store = Breaker(1, STORE_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        """What the picture store's answers tell of it."""

    def arrived(self, queue: str, jobs: int) -> None:
        """A message with this number of jobs came in."""
        with self._lock:
            self._held[lane_of(queue)] += jobs
            self._held_of_model[model_of(queue)] += jobs

    def left(self, queue: str, jobs: int = 1) -> None:
        """Some of its jobs need it no longer."""
        with self._lock:
            self._held[lane_of(queue)] -= jobs
            self._held_of_model[model_of(queue)] -= jobs

    def held(self) -> dict[Lane, int]:
        """Jobs in hand by lane."""
        with self._lock:
            return {lane: count for lane, count in self._held.items() if count}

    def is_open(self, queue: str) -> bool:
        """Whether one more message of a queue may be fetched."""
        with self._lock:
            if self._held[Lane.ALONE] or self._held[lane_of(queue)] >= self._slots:
                return False
            model = model_of(queue)
            return self._lets_in(self.store, self._held.total()) and (
                model not in self.models or self._lets_in(self.models[model], self._held_of_model[model])
            )

    def takes(self, model: str) -> bool:
        """Whether a job of a model may be taken without a message."""
        with self._lock:
            breakers = (self.store, self.models[model])
            return all(breaker.state is BreakerState.CLOSED for breaker in breakers)

    def closed(self) -> list[str]:
        """What is left alone at present: names of models, and `store`."""
        named = {**self.models, "store": self.store}
        return [name for name, breaker in named.items() if breaker.state is not BreakerState.CLOSED]

    @staticmethod
    def _lets_in(breaker: Breaker, in_hand: int) -> bool:
        state = breaker.state
        return state is BreakerState.CLOSED or (state is BreakerState.TRIAL and in_hand == 0)


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
            """The queues that the next message may come from; none while everything is full."""
            return [queue for queue in self._queues[:n] if admission.is_open(queue)]

        def rotate(self, last_used: str) -> str:
            """The queue that gave a message goes behind the others of its lane."""
            if last_used in self._queues:
                self._queues.remove(last_used)
                self._queues.append(last_used)
                self._queues.sort(key=lane_of)
            return last_used

    return QueueOrder
