"""Starts and stops the workers of `limner up` by the work that waits."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from limner_client.local.stack import SUPERVISOR, Stack
from limner_client.local.worker_scaling import ScalingRules, WorkerScaling, seconds_of_work
from limner_shared.db import fleet_queries, pause_queries, queries, release_queries
from limner_shared.db.engine import Database
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.estimates import measure
from limner_shared.domain.jobs import Priority
from limner_shared.domain.pauses import Paused

EVERY_SECONDS: Final = 2.0
TARGET_SECONDS: Final = 20.0
COOLDOWN_SECONDS: Final = 300.0
DEFAULT_JOB_SECONDS: Final = 5.0
"""The time of a job until some have ended."""
MEASURED_SECONDS, MEASURED_JOBS = 600.0, 200


class Autoscaler:
    """Keeps the number of a stack's workers between two limits. Call `adjust` often, from the stack's own thread."""

    def __init__(self, stack: Stack, rules: ScalingRules, clock: Callable[[], float] = time.monotonic) -> None:
        settings = stack.settings
        self._stack = stack
        self._scaling = WorkerScaling(rules)
        self._clock = clock
        self._database = Database.of(settings)
        self._models = [card.name for card in Catalogue.load(settings.models, settings.default_model).cards.values()]
        self._next = 0.0

    def adjust(self) -> None:
        """Every few seconds, start or stop workers. While the database is away, their number stays."""
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY_SECONDS
        current = self._stack.worker_count
        try:
            with self._database.read() as session:
                paused = pause_queries.paused(session)
                waiting = sum(self._seconds(session, model, current, paused) for model in self._models)
                drawing = not fleet_queries.running_by_model(session).keys().isdisjoint(self._models)
        except SQLAlchemyError:
            return
        wanted = self._scaling.workers(now, current, waiting, drawing=drawing)
        if wanted != current:
            self._stack.tell(SUPERVISOR, f"{waiting:.0f} s of work wait: {wanted} workers instead of {current}")
            self._stack.scale(wanted)

    def close(self) -> None:
        """Close the database."""
        self._database.dispose()

    def _seconds(self, session: Session, model: str, workers: int, paused: Paused) -> float:
        if model in paused.models:
            return 0.0
        waiting = sum(size.jobs for size in release_queries.released_sizes(session, model).values())
        for priority in Priority:
            waiting += release_queries.backlog_sizes(session, model, priority.rank, paused)[0].jobs
        if not waiting:
            return 0.0
        rate = measure(queries.latest_runs(session, model, MEASURED_SECONDS, MEASURED_JOBS))
        jobs, busy = (0, 0.0) if rate is None else (rate.jobs, max(1, workers) * rate.jobs / rate.per_second)
        return seconds_of_work(waiting, jobs, busy, DEFAULT_JOB_SECONDS)
