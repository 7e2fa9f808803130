"""Runs a task of retention for all tenants in one transaction, or for each by itself if that fails, so that a damaged
row of one tenant keeps what no other tenant wants kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.orm import Session

from limner_dispatcher.item_runner import ItemRunner
from limner_shared.db.engine import Database, describe, is_full
from limner_shared.db.tables import Tenant
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

ALONE_SECONDS: Final = 10.0
"""Time in a pass for tenants one by one; the next pass continues."""

Task = Callable[[Session, int, ColumnElement[bool]], int]
"""Handles at most the given number of rows of the tenants that meet the condition, and returns their number."""


class TenantSweep:
    """Each tenant for which a task fails is an item of its duty, set aside until its retry."""

    def __init__(self, database: Database, runner: ItemRunner) -> None:
        self._database = database
        self._runner = runner

    def run(self, duty: str, task: Task, limit: int) -> int:
        """Run a task, and return how many rows it handled. Raises the errors of an unavailable or full database."""
        aside = self._runner.set_aside(duty)
        try:
            handled = self._handle(task, limit, Tenant.id.not_in(aside) if aside else true())
        except Exception as error:
            if self._runner.lets_through(error) or is_full(error):
                raise
            log.warning("a task of retention failed, continuing tenant by tenant", duty=duty, error=describe(error))
            return self._one_by_one(duty, task, limit)
        self._runner.keep(duty, aside)
        return handled

    def _handle(self, task: Task, limit: int, scope: ColumnElement[bool]) -> int:
        with self._database.write() as session:
            return task(session, limit, scope)

    def _one_by_one(self, duty: str, task: Task, limit: int) -> int:
        with self._database.read() as session:
            tenants = list(session.scalars(select(Tenant.id)))
        most = 0

        def handle(tenant: str) -> None:
            nonlocal most
            most = max(most, self._handle(task, limit, Tenant.id == tenant))

        self._runner.each(duty, tenants, handle, ALONE_SECONDS)
        return most
