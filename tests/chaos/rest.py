"""What must have come to rest after a round, and how long that may take."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Final

from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.tables import Bulk, Job
from limner_shared.messaging.reports import DispatcherReport, read_reports
from tests.chaos.world import World
from tests.processes import TENANT

END_SECONDS: Final = 90.0
REST_SECONDS: Final = 75.0
"""A bulk whose web process died is dropped a minute after its last report."""
INSIST_SECONDS: Final = 30.0
DISPATCHERS: Final = 2


def wait_for_jobs(world: World) -> list[str]:
    """Wait until no job is queued or running; returns a sentence with the number of jobs that did not end."""
    # An aborted bulk waits for its sweep: `wait_for_bulks`.
    unfinished = select(Bulk.id).where(Bulk.state.in_(("loading", "dropping")))
    live = Job.state.in_(("queued", "running")) & (Job.bulk_id.is_(None) | Job.bulk_id.not_in(unfinished))

    def left() -> list[str]:
        with world.service.database.read() as session:
            count = session.scalar(select(func.count()).where(live, Job.tenant_id == TENANT)) or 0
        return [f"{count} jobs had not ended after {END_SECONDS:.0f} s"] if count else []

    return _wait(world, left, END_SECONDS)


def wait_for_bulks(world: World) -> list[str]:
    """Wait until every bulk was loaded, dropped or canceled completely; returns a sentence for each of the others."""

    def left() -> list[str]:
        passing = Bulk.state.in_(("loading", "dropping", "canceling")) & (Bulk.tenant_id == TENANT)
        with world.service.database.read() as session:
            rows = session.execute(select(Bulk.id, Bulk.state).where(passing)).all()
        return [f"{bulk_id}: still {state} after {REST_SECONDS:.0f} s" for bulk_id, state in rows]

    return _wait(world, left, REST_SECONDS)


def wait_for_dispatchers(world: World) -> list[str]:
    """Wait until the dispatchers report and none has set an item aside; returns a sentence for each that has."""

    def left() -> list[str]:
        with world.redis.client() as client:
            return failing_items(read_reports(client, DispatcherReport))

    return _wait(world, left, REST_SECONDS)


def failing_items(reports: Iterable[DispatcherReport]) -> list[str]:
    """A sentence for each item that a dispatcher has set aside, and one if fewer than DISPATCHERS report."""
    known = list(reports)
    found = [
        f"set aside: {item.duty} of {item.item}, {item.error}, {item.failures} failures"
        for report in known
        for item in report.set_aside
    ]
    return found if len(known) >= DISPATCHERS else [*found, f"{len(known)} dispatchers report"]


def insist(change: Callable[[], object]) -> None:
    """Change the database, again if another process changes the same rows meanwhile."""
    deadline = time.monotonic() + INSIST_SECONDS
    while True:
        try:
            change()
        except SQLAlchemyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _wait(world: World, left: Callable[[], list[str]], seconds: float) -> list[str]:
    """Wait until nothing is left, while dead processes are started again."""
    deadline, found = time.monotonic() + seconds, ["not known"]
    while found and time.monotonic() < deadline:
        world.restart_dead()
        try:
            found = left()
        except (SQLAlchemyError, RedisError) as error:
            found = [repr(error)]
        if found:
            time.sleep(0.1)
    return found
