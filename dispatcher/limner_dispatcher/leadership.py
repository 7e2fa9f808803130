"""Any number of dispatchers run. For each duty a row in the database makes one of them the active one, and each of its
transactions begins by asking whether it still is.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

LEAD_SECONDS = 5.0
"""After so long without a word from the active dispatcher, another takes over."""


class NotLeading(Exception):
    """Another dispatcher is the active one."""


class Leadership:
    """One process's claim to one duty. Each duty has a thread and so a transaction of its own."""

    def __init__(self, database: Database, duty: str, owner: str) -> None:
        self._database = database
        self._duty = duty
        self._owner = owner
        self.leads = False
        """Whether it was the active one when it last asked."""

    @contextmanager
    def write(self, seconds: float | None = None) -> Generator[Session]:
        """A transaction of the active one, which it stays for `seconds` (LEAD_SECONDS). Raises NotLeading."""
        with self._database.write() as session:
            leads = ledger.acquire_leadership(
                session, self._duty, self._owner, LEAD_SECONDS if seconds is None else seconds
            )
            if leads is not self.leads:
                log.info("this dispatcher is the active one" if leads else "another leads", duty=self._duty)
            self.leads = leads
            if not leads:
                raise NotLeading
            yield session
