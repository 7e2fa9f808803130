"""The devices of `bench.fleet`: workers with the real code of fetches, models and batches, in simulated time."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, cast

from bench.simulation import BUCKETS, SLOTS, step_time
from limner_dispatcher.fairness import Backlog, FairShare
from limner_dispatcher.release_window import ReleaseWindow
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.celery_app import model_of, queue_name
from limner_shared.settings import Settings
from limner_worker.engine.pending_models import PendingModels
from limner_worker.engine.scheduler import Scheduler
from limner_worker.generators.model_cache import ModelCache
from limner_worker.runtime.admission import Admission, queue_order
from limner_worker.runtime.placement import LOOK_SECONDS, Chooser

GIB: Final = 1 << 30
SIZES: Final = (7, 12, 2, 24, 7, 4, 34, 2, 16, 7, 24, 4)
"""GB of each model, the most popular first."""
LOAD_BYTES: Final = 2 * GIB
"""Bytes loaded a second."""
STEP_SECONDS: Final = 0.25
"""One step of one picture with a model of 7 GB on a fast device."""
MEMORY: Final = (80, 48)
SPEED: Final = (1.0, 0.5)
SETTINGS: Final = Settings.model_fields
STEP_TIMES: Final = [step_time(rows) for rows in range(BUCKETS[-1] + 1)]
MODELS: Final = [f"model-{number}" for number in range(len(SIZES))]
BYTES: Final = {model: size * GIB for model, size in zip(MODELS, SIZES, strict=True)}
PACE: Final = {model: STEP_SECONDS * math.sqrt(size / 7) for model, size in zip(MODELS, SIZES, strict=True)}
"""Seconds of one step of one picture alone on a fast device."""


@dataclass(eq=False, slots=True)
class Job:
    """A job of one image: what release, claims and the scheduler read of it."""

    arrival: float
    tenant: str
    model: str
    steps: int
    left: int = 0
    released: float = 0.0
    started: float = 0.0

    @property
    def cost(self) -> int:
        """Cost units."""
        return self.steps

    @property
    def key(self) -> str:
        """Rows of one model share a batch."""
        return self.model

    @property
    def remaining(self) -> int:
        """Remaining steps."""
        return self.left

    @property
    def width(self) -> int:
        """Places of a batch."""
        return 1


@dataclass
class Weights:
    """A loaded model: its card and size are all that the cache reads."""

    card: Any
    nbytes: int

    def fingerprint(self) -> dict[str, Any]:
        """Nothing is generated, so no receipt."""
        return {}


class Queues:
    """Release, and the lists in Redis."""

    def __init__(self) -> None:
        self.lists: dict[str, deque[Job]] = {queue_name(model, Lane.NORMAL): deque() for model in MODELS}
        self._waiting: dict[str, dict[str, deque[Job]]] = {model: {} for model in MODELS}
        self._shares = {model: FairShare() for model in MODELS}
        smallest, largest = SETTINGS["release_window"].default, SETTINGS["max_release_window"].default
        self._windows = {model: ReleaseWindow(smallest, largest) for model in MODELS}
        self.reserved: dict[str, float] = {}

    def submit(self, job: Job) -> None:
        """Queue a job in the database."""
        self._waiting[job.model].setdefault(job.tenant, deque()).append(job)

    def release(self, now: float) -> None:
        """One round of the dispatcher for each model."""
        for model, waiting in self._waiting.items():
            if not waiting:
                continue
            released, window = self.lists[queue_name(model, Lane.NORMAL)], self._windows[model]
            unclaimed = len(released)
            room = window.room(unclaimed, now)
            backlogs = {tenant: Backlog(1.0, iter(list(islice(jobs, room)))) for tenant, jobs in waiting.items()}
            chosen = self._shares[model].choose(backlogs, room)
            window.fill(unclaimed, len(chosen), now)
            for tenant, job in chosen:
                waiting[tenant].popleft()
                job.released = now
                released.append(job)
            for tenant in [tenant for tenant, jobs in waiting.items() if not jobs]:
                del waiting[tenant]

    def waits(self, now: float) -> dict[tuple[str, Lane], float]:
        """How long the oldest message of each list has waited."""
        return {(model_of(name), Lane.NORMAL): now - jobs[0].released for name, jobs in self.lists.items() if jobs}

    def reserve(self, model: str, now: float) -> bool:
        """The reservation in Redis, which expires."""
        free = self.reserved.get(model, -math.inf) + LOOK_SECONDS <= now
        if free:
            self.reserved[model] = now
        return free


class Device:
    """A worker with its device: the parts of the worker around simulated time."""

    def __init__(self, number: int, queues: Queues, fixed: Sequence[str] | None = None) -> None:
        self.speed, self._queues = SPEED[number % 2], queues
        models = MODELS if fixed is None else fixed
        card = Catalogue.load([], "limner-flow").get(None)
        cards = [card.model_copy(update={"name": model, "buckets": BUCKETS}) for model in models]
        cards = cards[number % len(cards) :] + cards[: number % len(cards)]
        self.switches = 0
        self.cache = ModelCache(cards, self._load, MEMORY[number % 2] * GIB)
        self.switches = 0  # those of the start do not count
        self.cache.load_seconds.update({model: BYTES[model] / LOAD_BYTES for model in models})
        self.admission = Admission(SLOTS, models)
        self._order = queue_order(self.admission)()
        self._order.update([queue_name(each.name, Lane.NORMAL) for each in cards])
        self._pending = PendingModels()
        self._scheduler: Scheduler[Job] = Scheduler(lambda _key: BUCKETS)
        self.busy = 0.0

    def _load(self, card: Any) -> Any:
        self.switches += 1
        return Weights(card, BYTES[card.name])

    def look(self, now: float) -> None:
        """What the policy does between two looks at the queues."""

    def wants(self, names: Sequence[str]) -> Sequence[str]:
        """The queues in the order in which they are read."""
        return names

    def work(self, now: float) -> float | None:
        """Fetch jobs, and load a model or run a step; returns its end, or None if there is nothing to do."""
        self._fetch(now)
        for model in self._pending.startable(now):
            switches = self.switches
            if self.cache.ensure_loaded(model, {job.model for job in self._scheduler}):
                jobs = self._pending.take(model)
                for job in cast("list[Any]", jobs):
                    self._scheduler.add(job, Lane.NORMAL)
                if self.switches > switches:
                    return now + BYTES[model] / LOAD_BYTES
        batch = self._scheduler.next_batch()
        return self._step(batch, now) if batch else None

    def _fetch(self, now: float) -> None:
        while True:
            names = self.wants(self._order.consume(len(MODELS)))
            name = next((name for name in names if self._queues.lists[name]), None)
            if name is None:
                return
            job = self._queues.lists[name].popleft()
            self._order.rotate(name)
            self.admission.add(name, 1)
            self._pending.add(job.model, cast("Any", job), now)

    def _step(self, batch: Sequence[Job], now: float) -> float:
        size = next(bucket for bucket in BUCKETS if bucket >= len(batch))
        seconds = STEP_TIMES[size] * PACE[batch[0].model] / self.speed
        self.busy += seconds
        done: list[Job] = []
        for job in batch:
            if job.left == job.steps:
                job.started = now
            job.left -= 1
            if not job.left:
                done.append(job)
                self.admission.remove(queue_name(job.model, Lane.NORMAL))
        self._scheduler.remove(done)
        return now + seconds


class Ours(Device):
    """Chooses its models by what waits."""

    def __init__(self, number: int, queues: Queues) -> None:
        super().__init__(number, queues)
        self._now = 0.0
        self._chooser = Chooser(self.cache, self.admission, lambda model: queues.reserve(model, self._now))
        self._chooser.serve_loaded()

    def look(self, now: float) -> None:
        """A look of the placement's thread."""
        self._now = now
        self._chooser.decide(lambda: self._queues.waits(now), now)


class LeastRecentlyUsed(Device):
    """Takes jobs of its loaded models first, and otherwise the oldest job."""

    def wants(self, names: Sequence[str]) -> Sequence[str]:
        """Loaded models first, then by the oldest job; nothing more while a model waits to be loaded."""
        if len(self._pending):
            return [name for name in names if model_of(name) in self.cache.loaded]
        lists = self._queues.lists
        return sorted(
            names,
            key=lambda name: (
                model_of(name) not in self.cache.loaded,
                lists[name][0].released if lists[name] else math.inf,
            ),
        )
