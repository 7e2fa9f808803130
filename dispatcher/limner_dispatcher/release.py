"""Release: the jobs that workers may take next are published to Redis, fairly. One transaction for each model and
round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from celery import Celery
from sqlalchemy.orm import Session

from limner_dispatcher.aging import Aging
from limner_dispatcher.fairness import Backlog, FairShare
from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.leadership import Leadership
from limner_dispatcher.release_window import ReleaseWindow
from limner_dispatcher.waiting_queues import WaitingQueues
from limner_shared import metrics, tracing
from limner_shared.db import ledger, pause_queries, release_queries
from limner_shared.db.engine import now
from limner_shared.db.ledger import Released
from limner_shared.db.release_queries import Share
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import LOSSES_TOGETHER, Lane, Priority
from limner_shared.domain.pauses import Paused
from limner_shared.domain.waiting_queue import QueuedJob, WaitingQueue
from limner_shared.messaging.celery_app import publish
from limner_shared.messaging.redis_queues import QueueState, RedisQueues
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger, job_ids

log = get_logger(__name__)

MESSAGE_LOST_SECONDS: Final = 3.0
"""A job that was released this much earlier than the oldest message in Redis and is not claimed has lost its
message."""
MESSAGE_LOST_ALONE_SECONDS: Final = 60.0
"""The same for a job that must run alone: its worker fetches the message, and finishes its other jobs before it
claims. Until then it marks the job as released with each heartbeat, so only the message of a lost worker is lost."""
SHARES_AT_ONCE: Final = 256


@dataclass
class ModelState:
    """The state of one model between rounds; it can be lost without harm."""

    card: ModelCard
    windows: dict[Lane, ReleaseWindow]
    aging: Aging
    shares: dict[Priority, FairShare]
    queues: dict[Priority, WaitingQueues]
    queue_states: Mapping[Lane, QueueState]
    """The state of its Redis queues at the beginning of this round."""


class Releaser:
    """Releases jobs, and moves up messages that have waited long."""

    def __init__(
        self,
        settings: Settings,
        catalogue: Catalogue,
        leadership: Leadership,
        redis_queues: RedisQueues,
        celery: Celery,
        runner: ItemRunner,
    ) -> None:
        self._settings = settings
        self._leadership = leadership
        self._redis_queues = redis_queues
        self._celery = celery
        self._runner = runner
        self._models = {name: self._state(card) for name, card in catalogue.cards.items()}

    def round(self) -> float:
        """Release as many jobs as there is room for; returns the longest pause before the next round, in seconds.

        Raises NotLeading, and the errors of an unavailable database or Redis.
        """
        pauses = [self._settings.dispatch_seconds]
        with self._leadership.write() as session:
            queued = release_queries.queued_models(session, list(self._models))

        def release(model: str) -> None:
            pauses.append(self._release(model, self._models[model]))

        # Without queued jobs there is nothing to release, to recall or to move up.
        self._runner.each("release", queued, release)
        self._runner.each("move up", queued, lambda model: self._move_up(model, self._models[model]))
        return min(pauses)

    def _state(self, card: ModelCard) -> ModelState:
        settings = self._settings
        windows = {
            lane: ReleaseWindow(settings.release_window, max(settings.release_window, settings.max_release_window))
            for lane in Lane
        }
        return ModelState(
            card,
            windows,
            Aging(settings.aging_seconds),
            {priority: FairShare() for priority in Priority},
            {priority: WaitingQueues() for priority in Priority},
            {},
        )

    def _release(self, model: str, state: ModelState) -> float:
        state.queue_states, started = {}, tracing.clock()
        queue_states = self._redis_queues.read_states(model)  # raises before any job is marked as released
        next_round = float("inf")
        with self._leadership.write() as session:
            paused = pause_queries.paused(session)
            if paused:
                ledger.recall(session, model, paused)
            if model in paused.models:
                return next_round
            again = [job for lane in Lane for job in self._lost(session, model, lane, queue_states[lane])]
            unclaimed_jobs = release_queries.unclaimed_jobs(session, model)
            released: list[Released] = []
            for priority in Priority:
                lane = Lane.of(priority.rank)
                window, unclaimed = state.windows[lane], unclaimed_jobs.get(lane, 0)
                chosen = self._choose(session, state, priority, window.room(unclaimed, time.monotonic()), paused)
                for to, jobs in chosen.items():
                    released += ledger.release(session, to, [job.id for job in jobs])
                window.fill(unclaimed, len(chosen.get(lane, [])), time.monotonic())
                if chosen:
                    next_round = min(next_round, window.seconds_left)
        if again:
            log.info("released again", model=model, jobs=job_ids(job.id for job in again))
            metrics.JOBS_RELEASED_AGAIN.inc(len(again), model=model)
        _trace(model, again + released, started)
        self._publish(model, state, again + released)
        state.queue_states = queue_states
        return next_round

    def _lost(self, session: Session, model: str, lane: Lane, queue: QueueState) -> list[Released]:
        """Mark the lane's lost jobs as released again: those released before its oldest message and not claimed."""
        lost_after = MESSAGE_LOST_ALONE_SECONDS if lane is Lane.ALONE else MESSAGE_LOST_SECONDS
        if queue.length and queue.oldest_at is None:
            return []  # not Limner's message; the worker discards it
        newest_lost = now() - lost_after if queue.oldest_at is None else queue.oldest_at - lost_after
        return ledger.release_again(session, model, lane, newest_lost)

    def _choose(
        self, session: Session, state: ModelState, priority: Priority, room: int, paused: Paused
    ) -> Mapping[Lane, list[QueuedJob]]:
        """Choose the next jobs of a priority class; returns them by the lane that each goes to."""
        if not room:
            return {}
        queues = state.queues[priority]
        waiting = release_queries.waiting_tenants(session, state.card.name, priority.rank)
        tenants = [tenant for tenant in waiting if tenant not in paused.tenants]
        queues.keep(tenants)
        reader = _Reader(session, state.card.name, priority.rank)
        backlogs = Backlogs(
            tenants,
            lambda some: release_queries.shares(session, some),
            lambda tenant: queues.jobs(reader, tenant),
        )
        chosen: dict[Lane, list[QueuedJob]] = {}
        met: set[str] = set()
        for tenant, job in state.shares[priority].choose(backlogs, room):
            idle = priority is not Priority.LOW and tenant not in met and backlogs.share(tenant).active == 0
            met.add(tenant)
            chosen.setdefault(_lane(state.card, priority, job, first=idle), []).append(job)
            queues.took(tenant, job)
        return chosen

    def _publish(self, model: str, state: ModelState, released: list[Released]) -> None:
        for lane in Lane:
            jobs = [job for job in released if job.lane == lane]
            if jobs:
                publish(self._celery, model, jobs, state.windows[lane].jobs_a_message)

    def _move_up(self, model: str, state: ModelState) -> None:
        oldest = {lane: tuple(found.oldest_jobs) or None for lane, found in state.queue_states.items()}
        for lane in state.aging.starved(oldest, time.monotonic()):
            to = Lane(lane - 1)
            jobs = self._redis_queues.move_up(model, lane, to)
            log.info("starved, moved up", model=model, lane=lane.name, jobs=job_ids(jobs))
            with self._leadership.write() as session:
                ledger.promote(session, dict.fromkeys(jobs, to))


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads waiting queues from the database."""

    session: Session
    model: str
    rank: int

    def queues(self, tenant: str, after: str, limit: int) -> list[WaitingQueue]:
        return release_queries.waiting_queues(self.session, self.model, self.rank, tenant, after, limit)

    def jobs(self, tenant: str, queue_key: str, after: str, limit: int) -> list[QueuedJob]:
        return release_queries.waiting_jobs(self.session, self.model, self.rank, tenant, queue_key, after, limit)


class Backlogs(Mapping[str, Backlog[QueuedJob]]):
    """The backlogs of all tenants, read from the database only for those whose turn comes."""

    def __init__(
        self,
        tenants: Sequence[str],
        read_shares: Callable[[Sequence[str]], Mapping[str, Share]],
        read_jobs: Callable[[str], Iterator[QueuedJob]],
    ) -> None:
        self._places = {tenant: place for place, tenant in enumerate(tenants)}
        self._tenants = tenants
        self._read_shares = read_shares
        self._read_jobs = read_jobs
        self._shares: dict[str, Share] = {}
        self._backlogs: dict[str, Backlog[QueuedJob]] = {}

    def share(self, tenant: str) -> Share:
        """The share of a tenant; read together with those of the tenants after it."""
        if tenant not in self._shares:
            place = self._places[tenant]
            self._shares |= self._read_shares(self._tenants[place : place + SHARES_AT_ONCE])
        return self._shares[tenant]

    def __getitem__(self, tenant: str) -> Backlog[QueuedJob]:
        if tenant not in self._backlogs:
            share = self.share(tenant)
            allowed = None if share.max_running is None else share.max_running - share.active
            self._backlogs[tenant] = Backlog(share.weight, self._read_jobs(tenant), allowed)
        return self._backlogs[tenant]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tenants)

    def __len__(self) -> int:
        return len(self._tenants)

    def __contains__(self, tenant: object) -> bool:
        return tenant in self._places


def _lane(card: ModelCard, priority: Priority, job: QueuedJob, *, first: bool) -> Lane:
    if job.losses >= LOSSES_TOGETHER:
        return Lane.ALONE
    return Lane.FIRST if first and job.cost <= card.small_cost else Lane.of(priority.rank)


def _trace(model: str, released: Sequence[Released], started: int) -> None:
    """Record the transaction that released these jobs in their traces."""
    for job in released if tracing.enabled() else ():
        attributes = {tracing.JOB_ID: job.id, tracing.MODEL: model, tracing.LANE: job.lane.name.lower()}
        tracing.record("release", job.traceparent, started, attributes)
