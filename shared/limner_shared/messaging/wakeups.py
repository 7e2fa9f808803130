"""Tells the dispatcher and the workers that jobs wait: through Redis, or through PostgreSQL while Redis is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from limner_shared.circuit_breaker import Breaker, BreakerState
from limner_shared.db.engine import Database, describe
from limner_shared.db.notifications import notify_waiting
from limner_shared.messaging.hints import Hints
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

PAUSE_SECONDS: Final = 2.0
"""After a failure Redis is left alone for this time: a request must not wait for its timeouts."""
LONGEST_PAUSE_SECONDS: Final = 10.0


class WakeUps:
    """The wake-ups of one process that submits jobs. Thread-safe."""

    def __init__(self, database: Database, hints: Hints) -> None:
        self._database = database
        self._hints = hints
        self._breaker = Breaker(1, PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)

    @property
    def redis_is_away(self) -> bool:
        """Whether Redis failed within the last seconds; then nothing is sent to it."""
        return self._breaker.state is BreakerState.OPEN

    def in_commit(self, session: Session) -> None:
        """While Redis is away, notify through this transaction's commit."""
        if self.redis_is_away:
            notify_waiting(session)

    def after_commit(self, send: Callable[[], bool] | None = None) -> None:
        """Send through Redis unless it is known to be away; if that fails, notify through the database.

        `send` returns whether it reached Redis. By default it is the hint that jobs wait.
        """
        if self.redis_is_away:
            return
        if (send or self._hints.jobs_wait)():
            self._breaker.succeeded()
            return
        self._breaker.failed()
        try:
            with self._database.write() as session:
                notify_waiting(session)
        except SQLAlchemyError as error:
            log.warning("could not notify, left to the dispatcher", error=describe(error))
