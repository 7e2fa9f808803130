"""One round after another: take back, put right, release. Any number of dispatchers run; a row in the database makes
one of them the active one, and each of its transactions begins by asking whether it still is.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from limner_shared import ledger, queries
from limner_shared.blobs import Blobs
from limner_shared.cards import Catalogue, ModelCard
from limner_shared.celery_app import make_celery, publish
from limner_shared.database import Database, now
from limner_shared.events import Hints, connect
from limner_shared.jobs import LOSSES_TOGETHER, Lane, Priority
from limner_shared.ledger import Released
from limner_shared.queries import Flow, Share
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_worker.dispatch.aging import Aging
from limner_worker.dispatch.bell import Bell
from limner_worker.dispatch.cleaning import Cleaner
from limner_worker.dispatch.fairness import Backlog, FairShare
from limner_worker.dispatch.lists import Lists, Standing
from limner_worker.dispatch.window import Window
from limner_worker.leases import new_owner

log = get_logger(__name__)

DUTY = "dispatch"
LEAD_SECONDS = 5.0
"""After so long without a word from the active dispatcher, another takes over."""
FORGOTTEN_SECONDS = 3.0
"""Released so much longer ago than the oldest message in Redis, and not claimed: its message is lost."""
FORGOTTEN_ALONE_SECONDS = 60.0
"""A worker that is to run a job alone fetches its message, and then ends what it has in hand before it claims."""
UNKNOWN_MODEL_SECONDS = 60.0
"""A model may be new, and this dispatcher not started again yet: so long a job of it waits."""
STALE_BULK_SECONDS = 60.0
"""A bulk's loader says every few seconds that it lives; without news for so long, its web process died."""
IDEMPOTENCY_SECONDS = 24 * 3600.0
SHORTEST_PAUSE = 0.02
"""Between two rounds, however fast the workers are."""
SWEPT_AT_ONCE = 1000
PAGE = 64


class NotLeading(Exception):
    """Another dispatcher is the active one."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job, as the policy sees it."""

    id: str
    cost: int
    losses: int


@dataclass
class ModelState:
    """What the dispatcher remembers of one model between rounds; all of it can be lost without harm."""

    card: ModelCard
    windows: dict[Lane, Window]
    aging: Aging
    shares: dict[Priority, FairShare] = field(default_factory=lambda: {priority: FairShare() for priority in Priority})


class Dispatcher:
    """Reaps, expires, sweeps and releases."""

    def __init__(
        self, settings: Settings, catalogue: Catalogue, database: Database, redis: Redis, celery: Celery
    ) -> None:
        self.owner = new_owner()
        self._settings = settings
        self._database = database
        self._lists = Lists(redis)
        self._celery = celery
        self._bell = Bell(redis)
        self._hints = Hints(redis)
        self._cleaner = Cleaner(database, Blobs(settings.resolved_blob_url), input_days=settings.input_days)
        self._models = {name: self._state(card) for name, card in catalogue.cards.items()}
        self._tidied_at = float("-inf")
        self._trouble: str | None = None
        self._leading = False

    def run(self, stopping: threading.Event) -> None:
        """Tick until told to stop; nothing that happens to the database or Redis ends it."""
        log.info("dispatcher ready")
        while not stopping.is_set():
            pause = self._settings.dispatch_seconds
            try:
                pause = min(pause, max(SHORTEST_PAUSE, self.tick()))
                self._trouble = None
            except NotLeading:
                self._leading = False
            except (DBAPIError, OperationalError, RedisError, OSError) as error:
                if self._trouble != type(error).__name__:  # say it once, not twice a second
                    log.warning("database or Redis away, trying again", error=str(error)[:200])
                self._trouble = type(error).__name__
            self._bell.wait(pause, stopping)

    def tick(self) -> float:
        """One round; returns after how many seconds the next one should come at the latest. Raises NotLeading."""
        if time.monotonic() - self._tidied_at >= self._settings.dispatch_seconds:
            self._tidy()
            self._tidied_at = time.monotonic()
        return min(self._release(model, state) for model, state in self._models.items())

    @contextmanager
    def _duty(self) -> Generator[Session]:
        with self._database.write() as session:
            if not ledger.lead(session, DUTY, self.owner, LEAD_SECONDS):
                raise NotLeading
            yield session
        if not self._leading:
            log.info("this dispatcher is the active one")
            self._leading = True

    def _tidy(self) -> None:
        with self._duty() as session:
            lost = ledger.reap(session, self._settings.solo_losses)
            ended = ledger.expire(session, SWEPT_AT_ONCE)
            for bulk_id in ledger.stale_bulks(session, STALE_BULK_SECONDS):
                ledger.drop_bulk(session, bulk_id, SWEPT_AT_ONCE)
            ended += ledger.fail_unknown(session, list(self._models), UNKNOWN_MODEL_SECONDS, SWEPT_AT_ONCE)
            ended += ledger.sweep_bulks(session, SWEPT_AT_ONCE)
            ledger.forget_keys(session, IDEMPOTENCY_SECONDS)
            for model in self._models:
                ledger.adopt(session, model, SWEPT_AT_ONCE)
        for change in lost:
            log.warning("lease lost", job=change.id, now=change.state.value)
        self._hints.changed(lost + ended)
        self._cleaner.clean()

    # --- release ---

    def _state(self, card: ModelCard) -> ModelState:
        settings = self._settings
        windows = {lane: Window(settings.window, max(settings.window, settings.max_window)) for lane in Lane}
        return ModelState(card, windows, Aging(settings.aging_seconds))

    def _release(self, model: str, state: ModelState) -> float:
        standing = self._lists.look(model)  # raises where Redis is away: then nothing is marked as released
        next_round = float("inf")
        with self._duty() as session:
            again = [job for lane in Lane for job in self._lost(session, model, lane, standing[lane])]
            inside = queries.in_window(session, model)
            released: list[Released] = []
            for priority in Priority:
                lane = Lane.of(priority.rank)
                window, unclaimed = state.windows[lane], inside.get(lane, 0)
                chosen = self._choose(session, state, priority, window.look(unclaimed, time.monotonic()))
                for to, jobs in chosen.items():
                    released += ledger.release(session, to, [job.id for job in jobs])
                window.fill(unclaimed, len(chosen.get(lane, [])), time.monotonic())
                if chosen:
                    next_round = min(next_round, window.seconds_left)
        if again:
            log.info("released again", model=model, jobs=len(again))
        self._publish(model, state, again + released)
        self._move_up(model, state, standing)
        return next_round

    def _lost(self, session: Session, model: str, lane: Lane, standing: Standing) -> list[Released]:
        """What must be in this lane's list, but is not: whatever was released before its oldest message."""
        patience = FORGOTTEN_ALONE_SECONDS if lane is Lane.ALONE else FORGOTTEN_SECONDS
        if standing.length and standing.oldest_at is None:
            return []  # not a message of ours; the worker will throw it away
        newest_lost = now() - patience if standing.oldest_at is None else standing.oldest_at - patience
        return ledger.release_again(session, model, lane, newest_lost)

    def _choose(
        self, session: Session, state: ModelState, priority: Priority, room: int
    ) -> Mapping[Lane, list[Waiting]]:
        """The jobs of one class whose turn it is, by the lane that each goes into."""
        if not room:
            return {}
        flows: dict[str, list[Flow]] = {}
        for flow in queries.waiting_flows(session, state.card.name, priority.rank):
            flows.setdefault(flow.tenant_id, []).append(flow)
        shares = queries.shares(session, list(flows)) if flows else {}
        backlogs = {
            tenant: self._backlog(session, state.card.name, priority, of_tenant, shares[tenant])
            for tenant, of_tenant in flows.items()
            if tenant in shares
        }
        chosen: dict[Lane, list[Waiting]] = {}
        idle = {tenant for tenant, share in shares.items() if share.active == 0 and priority is not Priority.LOW}
        for tenant, job in state.shares[priority].choose(backlogs, room):
            chosen.setdefault(_lane(state.card, priority, job, first=tenant in idle), []).append(job)
            idle.discard(tenant)
        return chosen

    def _backlog(
        self, session: Session, model: str, priority: Priority, flows: list[Flow], share: Share
    ) -> Backlog[Waiting]:
        lines = [_line(session, model, priority.rank, flow.name) for flow in flows]
        allowed = None if share.max_running is None else share.max_running - share.active
        return Backlog(share.weight, take_turns(lines), allowed)

    def _publish(self, model: str, state: ModelState, released: list[Released]) -> None:
        for lane in Lane:
            jobs = [job for job in released if job.lane == lane]
            if jobs:
                publish(self._celery, model, jobs, state.windows[lane].jobs_a_message)

    def _move_up(self, model: str, state: ModelState, standing: Mapping[Lane, Standing]) -> None:
        oldest = {lane: tuple(found.oldest_jobs) or None for lane, found in standing.items()}
        for lane in state.aging.starved(oldest, time.monotonic()):
            to = Lane(lane - 1)
            jobs = self._lists.move_up(model, lane, to)
            log.info("starved, moved up", model=model, lane=lane.name, jobs=len(jobs))
            with self._duty() as session:
                ledger.promote(session, dict.fromkeys(jobs, to))


def take_turns(lines: list[Iterator[Waiting]]) -> Iterator[Waiting]:
    """One from each line in turn, until all are empty."""
    turns = deque(lines)
    while turns:
        job = next(turns[0], None)
        if job is None:
            turns.popleft()
        else:
            yield job
            turns.rotate(-1)


def _line(session: Session, model: str, rank: int, flow: str) -> Iterator[Waiting]:
    """A flow's jobs, read a page at a time and only as far as they are asked for."""
    after = ""
    while rows := queries.waiting_jobs(session, model, rank, flow, after, PAGE):
        for row in rows:
            yield Waiting(*row)
        after = rows[-1][0]


def _lane(card: ModelCard, priority: Priority, job: Waiting, *, first: bool) -> Lane:
    if job.losses >= LOSSES_TOGETHER:
        return Lane.ALONE
    return Lane.FIRST if first and job.cost <= card.small_cost else Lane.of(priority.rank)


def run_dispatcher(settings: Settings, stopping: threading.Event) -> None:
    """Build a dispatcher from the settings and run it until told to stop."""
    catalogue = Catalogue.load(settings.models, settings.default_model)
    database = Database(settings.resolved_database_url)
    try:
        redis, celery = connect(settings.redis_url), make_celery(settings)
        Dispatcher(settings, catalogue, database, redis, celery).run(stopping)
    finally:
        database.dispose()
