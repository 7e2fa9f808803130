"""Leadership: several dispatchers may run, and for each duty a row in the database makes one of them the leader. Each
of the leader's transactions begins by checking that it still leads.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from sqlalchemy.orm import Session

from limner_shared import metrics
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

LEAD_SECONDS: Final = 5.0
"""The time after which another dispatcher takes over from a silent leader."""


class NotLeading(Exception):
    """Another dispatcher is the leader."""


class Leadership:
    """One process's leadership of one duty. Each duty has its own thread, and so its own transactions."""

    def __init__(self, database: Database, duty: str, owner: str) -> None:
        self._database = database
        self._duty = duty
        self._owner = owner
        self.leads = False
        """Whether this process was the leader at the last check."""

    @contextmanager
    def write(self, seconds: float | None = None) -> Generator[Session]:
        """A transaction of the leader, which renews its leadership for `seconds` (LEAD_SECONDS). Raises NotLeading."""
        with self._database.write() as session:
            leads = ledger.acquire_leadership(
                session, self._duty, self._owner, LEAD_SECONDS if seconds is None else seconds
            )
            if leads is not self.leads:
                log.info("this dispatcher is the active one" if leads else "another leads", duty=self._duty)
            self.leads = leads
            metrics.DISPATCHER_LEADS.set(leads, duty=self._duty)
            if not leads:
                raise NotLeading
            yield session
