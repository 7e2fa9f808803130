"""Keeps a worker with the models that it has loaded, and decides when it loads another one.

Without it every worker would take jobs of every model in turn, and load a model for each of them. A thread looks at the
queues in Redis; the policy is `engine.model_choice`. It runs only where the models do not fit into memory together.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from redis import Redis
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.engine import Database, clock
from limner_shared.domain.jobs import Lane
from limner_shared.messaging.hints import connect
from limner_shared.messaging.redis_queues import RedisQueues
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.engine.model_choice import STAY, model_to_load, overdue
from limner_worker.generators.model_cache import ModelCache
from limner_worker.runtime.admission import Admission

LOOK_SECONDS: Final = 1.0
"""The interval at which the queues are looked at. Each time, one worker at most decides to load a model."""
FETCH_SECONDS: Final = 3.0
"""How long a worker that has decided to load a model waits for its first message; another one may have taken it."""
UNIT_SECONDS: Final = 120.0


class Placement:
    """Opens the queues of the loaded models, and of the one that is loaded next."""

    def __init__(
        self, settings: Settings, database: Database, models: ModelCache, admission: Admission, supervisor: Supervisor
    ) -> None:
        self._redis: Redis = connect(settings.redis_url)
        self._queues = RedisQueues(connect(settings.redis_url, decode_responses=False))
        self._database = database
        self._models = models
        self._admission = admission
        self._supervisor = supervisor
        self._chooser = Chooser(models, admission, self._claim_loading)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, if the models do not fit into memory together."""
        if not self._models.all_fit:
            self._chooser.serve_loaded()
            self._thread = self._supervisor.start("placement", self._run, limit_seconds=UNIT_SECONDS)

    def stop(self) -> None:
        """Stop the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_SECONDS):
            self._supervisor.working()
            # Without Redis or the database, which others report, the worker continues with its loaded models.
            with suppress(RedisError, SQLAlchemyError):
                self._chooser.decide(self._waits, time.monotonic())
            self._supervisor.idle()

    def _waits(self) -> Mapping[tuple[str, Lane], float]:
        """Return the seconds since the release of each queue's oldest message, by the database's clock."""
        oldest = {
            (model, lane): state.oldest_at
            for model in self._models.cards
            for lane, state in self._queues.read_states(model).items()
            if state.oldest_at is not None
        }
        if not oldest:
            return {}
        with self._database.read() as session:
            current = clock(session)
        return {key: current - at for key, at in oldest.items()}

    def _claim_loading(self, model: str) -> bool:
        """Whether this worker may load the model now. Others look again later: its jobs may be served by then."""
        return bool(self._redis.set(f"limner:loading:{model}", "1", nx=True, px=round(LOOK_SECONDS * 1000)))


@dataclass(frozen=True, slots=True)
class Choice:
    """A model that this worker is to load."""

    model: str
    until: float
    """Until when its first message is waited for."""


class Chooser:
    """The state between decisions: the model that is to be loaded, if any."""

    def __init__(self, models: ModelCache, admission: Admission, claim_loading: Callable[[str], bool]) -> None:
        """`claim_loading` returns whether no other worker has decided to load this model just now."""
        self._models = models
        self._admission = admission
        self._claim_loading = claim_loading
        self._choice: Choice | None = None
        self._stays_until = 0.0
        """Until when a busy worker stays with the model that it has loaded last."""

    def decide(self, waits: Callable[[], Mapping[tuple[str, Lane], float]], moment: float) -> None:
        """Decide which queues are read until the next decision. `waits` returns the wait of each queue's oldest
        message.
        """
        if self._choice is not None:
            if self._is_loading(self._choice, moment):
                return
            if self._choice.model in self._models.loaded:
                self._stays_until = moment + STAY * self._models.load_seconds[self._choice.model]
        self._choice = None
        waiting = waits()
        self._serve(self._models.loaded, overdue(waiting))
        if self._admission.is_busy and moment < self._stays_until:
            return  # or a worker that many models wait for would do little but load
        allowed = {
            name: self._models.load_seconds[name] for name in self._models.cards if self._admission.accepts(name)
        }
        chosen = model_to_load(waiting, self._models.loaded, allowed)
        if chosen is not None and self._claim_loading(chosen):
            self._choice = Choice(chosen, until=moment + FETCH_SECONDS)
            self._serve({chosen, *self._models.staying(chosen)}, {chosen, *overdue(waiting)})

    def serve_loaded(self) -> None:
        """Read the queues of the loaded models."""
        self._choice = None
        self._serve(self._models.loaded)

    def _serve(self, models: Collection[str], mixed: Collection[str] = ()) -> None:
        """Read the queues of these models; those of the `mixed` ones also while there are jobs of another model. What
        finds no place in a batch stays in its queue: another worker may have one, and only what is in a queue is seen
        to wait.
        """
        self._admission.serve({name: max(self._models.cards[name].buckets) for name in models}, mixed)

    def _is_loading(self, choice: Choice, moment: float) -> bool:
        held = self._admission.holds(choice.model)
        return choice.model not in self._models.loaded and (held or moment < choice.until)
