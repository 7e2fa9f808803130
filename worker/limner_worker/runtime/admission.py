"""How many jobs a worker holds: a fixed number per lane, and no other job beside one of the lane `alone`. Models with
an open circuit breaker get no jobs, and none do while that of the picture store or of moderation is open. Where not all
models fit into memory (`runtime/placement.py`), those that are not loaded get none, the others no more than fill a
batch, and a worker with jobs of one model gets no jobs of another until these have waited for a while.

Before each fetch kombu asks a queue order which queues to read. Ours leaves out the closed queues, so that a backlog
never takes the places of better lanes, and messages wait in Redis, where other workers can get them.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import lane_of, model_of
from limner_shared.messaging.reports import MODERATION, STORE

MODEL_PAUSE_SECONDS: Final = 10.0
STORE_PAUSE_SECONDS: Final = 1.0
"""Also that of moderation."""
LONGEST_PAUSE_SECONDS: Final = 60.0


class Admission:
    """Counts the held jobs, from a message's arrival to its acknowledgement. Safe from any thread."""

    def __init__(self, slots: int, models: Iterable[str]) -> None:
        """`slots` is the number of jobs of each lane."""
        self._slots = slots
        self._held: Counter[Lane] = Counter()
        self._held_of_model: Counter[str] = Counter()
        self._held_of_queue: Counter[str] = Counter()
        self._served: Mapping[str, int] | None = None
        self._mixed: Collection[str] = ()
        self._lock = threading.Lock()
        self.model_breakers = {model: Breaker(1, MODEL_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS) for model in models}
        """The circuit breaker of each model; `model_trials` decides when one opens."""
        self.store_breaker = Breaker(1, STORE_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        """The circuit breaker of the picture store."""
        self.moderation_breaker = Breaker(1, STORE_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
        """The circuit breaker of the moderation service, if no job is drawn without it."""
        self.draining = False
        """Whether no job at all is taken."""

    def drain(self) -> None:
        """Take no more jobs."""
        self.draining = True

    def take_jobs(self) -> None:
        """Take jobs again."""
        self.draining = False

    def add(self, queue: str, jobs: int) -> None:
        """Count the jobs of a message that arrived from this queue."""
        with self._lock:
            self._held[lane_of(queue)] += jobs
            self._held_of_model[model_of(queue)] += jobs
            self._held_of_queue[queue] += jobs

    def remove(self, queue: str, jobs: int = 1) -> None:
        """Stop counting jobs of this queue that no longer need their message."""
        with self._lock:
            self._held[lane_of(queue)] -= jobs
            self._held_of_model[model_of(queue)] -= jobs
            self._held_of_queue[queue] -= jobs

    def serve(self, models: Mapping[str, int], mixed: Collection[str] = ()) -> None:
        """Leave the queues of all other models closed from now on, and hold at most this many jobs of each queue.

        Jobs of a model are not taken while the worker has jobs of another one in as good a lane, except jobs of the
        `mixed` models. Until the first call, all models are served without a limit of their own.
        """
        self._served, self._mixed = dict(models), frozenset(mixed)

    def holds(self, model: str) -> bool:
        """Whether the worker holds jobs of this model."""
        return self._held_of_model[model] > 0

    @property
    def is_busy(self) -> bool:
        """Whether the worker holds any jobs."""
        return self._held.total() > 0

    def is_open(self, queue: str) -> bool:
        """Whether one more message of a queue may be fetched."""
        with self._lock:
            if self.draining or self._held[Lane.ALONE] or self._held[lane_of(queue)] >= self._slots:
                return False
            model = model_of(queue)
            most = self._slots if self._served is None or lane_of(queue) is Lane.ALONE else self._served.get(model, 0)
            if self._held_of_queue[queue] >= most or self._is_left_to_others(queue):
                return False
            return self._breakers_allow(model)

    def _is_left_to_others(self, queue: str) -> bool:
        """Whether a worker without jobs of another model should take this queue's jobs."""
        lane, model = lane_of(queue), model_of(queue)
        if self._served is None or lane is Lane.ALONE or model in self._mixed or self._held_of_model[model]:
            return False
        return any(self._held[better] for better in Lane if better <= lane)

    def accepts(self, model: str) -> bool:
        """Whether a job of a model may be taken, at least one on trial: only a job ends the trial."""
        with self._lock:
            return not self.draining and self._breakers_allow(model)

    def is_on_trial(self, model: str) -> bool:
        """Whether one job of a model is to show that the model, or what every job needs, works again."""
        breakers = (*self._of_all_jobs, self.model_breakers[model])
        return any(breaker.state is BreakerState.TRIAL for breaker in breakers)

    def tripped(self) -> list[str]:
        """Return the models whose circuit breaker is not closed, and STORE or MODERATION if theirs is not."""
        named = {**self.model_breakers, STORE: self.store_breaker, MODERATION: self.moderation_breaker}
        return [name for name, breaker in named.items() if breaker.state is not BreakerState.CLOSED]

    @property
    def _of_all_jobs(self) -> tuple[Breaker, Breaker]:
        return self.store_breaker, self.moderation_breaker

    def _breakers_allow(self, model: str) -> bool:
        held = self._held.total()
        return all(self._breaker_allows(breaker, held) for breaker in self._of_all_jobs) and (
            model not in self.model_breakers
            or self._breaker_allows(self.model_breakers[model], self._held_of_model[model])
        )

    @staticmethod
    def _breaker_allows(breaker: Breaker, held: int) -> bool:
        state = breaker.state
        return state is BreakerState.CLOSED or (state is BreakerState.TRIAL and held == 0)


def queue_order(admission: Admission) -> type:
    """Return the class to give to kombu as `queue_order_strategy`; kombu creates the instance."""

    class QueueOrder:
        """The open queues, the better lane first; within a lane, models take turns."""

        def __init__(self) -> None:
            self._queues: list[str] = []

        def update(self, queues: list[str]) -> None:
            """Set the queues that are consumed now."""
            self._queues = sorted(queues, key=lane_of)

        def consume(self, n: int) -> list[str]:
            """Return the queues that the next message may come from; empty while all are closed."""
            return [queue for queue in self._queues[:n] if admission.is_open(queue)]

        def rotate(self, last_used: str) -> str:
            """Move the queue that gave a message behind the others of its lane."""
            if last_used in self._queues:
                self._queues.remove(last_used)
                self._queues.append(last_used)
                self._queues.sort(key=lane_of)
            return last_used

    return QueueOrder
