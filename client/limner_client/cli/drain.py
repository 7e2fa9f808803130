"""`limner drain`: workers take no new jobs until they are stopped or taken back."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

import click
from redis import Redis
from redis.exceptions import RedisError

from limner_client.cli.admin import opened_database
from limner_client.cli.queue import checked_reason
from limner_shared.db import pause_queries
from limner_shared.db.accounts import audit, pauses
from limner_shared.db.engine import Database
from limner_shared.domain.pauses import PauseKind
from limner_shared.errors import NotFound, ServiceUnavailable
from limner_shared.messaging.hints import connect
from limner_shared.messaging.reports import WorkerReport, read_reports
from limner_shared.messaging.workers import find_workers, matching
from limner_shared.settings import Settings

POLL_SECONDS: Final = 0.5


@click.command()
@click.argument("worker")
@click.option("--undo", is_flag=True, help="Let it take jobs again.")
@click.option("--wait", is_flag=True, help="Return only when it holds no job any more.")
@click.option("--reason", help="Shown by `limner queue list`.")
def drain(worker: str, undo: bool, wait: bool, reason: str | None) -> None:
    """Drain a worker: it takes no new jobs, and ends or hands back those that it holds.

    WORKER is the id of a worker, as `limner doctor` and the page of the operator show it, or the name of a machine for
    all of its workers. Within LIMNER_HEARTBEAT_SECONDS they take no more jobs; what they have not finished after
    LIMNER_SHUTDOWN_SECONDS continues on other workers from where it was. A drained worker runs until it is stopped.
    """
    settings = Settings()
    if undo:
        return _undo(worker)
    with opened_database() as database:
        redis = connect(settings.redis_url)
        with database.read() as session:  # no writer waits while Redis is asked
            found = find_workers(session, redis, worker)
        with database.write() as session:
            for one in found:
                pauses.pause(session, PauseKind.WORKER, one, checked_reason(reason), None, actor=audit.OPERATOR)
        for one in found:
            click.echo(f"The worker {one} drains.")
        if wait:
            _wait(redis, database, found)
    return None


def _undo(name: str) -> None:
    with opened_database() as database, database.write() as session:
        rows = [row for row in pause_queries.pauses(session) if row.kind == PauseKind.WORKER]
        found = matching(name, [row.subject for row in rows])
        if not found:
            drained = ", ".join(sorted(row.subject for row in rows)) or "none"
            raise NotFound(f"No worker {name!r} is drained. Drained: {drained}.")
        for row in rows:
            if row.subject in found:
                pauses.resume(session, row.id, actor=audit.OPERATOR)
    for one in found:
        click.echo(f"The worker {one} takes jobs again.")


def _wait(redis: Redis, database: Database, workers: Sequence[str]) -> None:
    """Wait until each worker has ended or holds no job; stop when the operator takes the order back."""
    left = set(workers)
    while left:
        try:
            reports = {report.owner: report for report in read_reports(redis, WorkerReport)}
        except RedisError as error:
            raise ServiceUnavailable(
                "Redis is unavailable, where workers report: they drain, but --wait cannot see when they are done."
            ) from error
        with database.read() as session:
            ordered = {one for one in left if pause_queries.is_draining(session, one)}
        for one in sorted(left):
            report = reports.get(one)
            if report is None or (report.draining and not report.held):
                click.echo(f"The worker {one} {'has ended' if report is None else 'holds no job'}.")
                left.discard(one)
            elif one not in ordered:
                raise NotFound(f"The worker {one} was taken back: it takes jobs again.")
        if left:
            time.sleep(POLL_SECONDS)
