"""Jobs whose time has come: one that cannot be changed is set aside, and holds up no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text, update
from tests.unit.dispatcher.dispatcher_processes import TENANT, expire_lease, make_dispatcher, new_jobs, redis, submit

from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Job
from limner_shared.db.webhook_tables import WebhookEndpoint
from limner_shared.domain.catalogue import Catalogue

__all__ = ["make_dispatcher", "redis"]

OTHER = "tenant_other"
HOUR = 3600.0


def refuse_changes(database: Database, job_id: str) -> None:
    """Let the database refuse every change of a job: this represents any damaged row."""
    if database.engine.dialect.name == "sqlite":
        trigger = f"WHEN NEW.id = '{job_id}' BEGIN SELECT RAISE(ABORT, 'damaged'); END"
        statements = [f"CREATE TRIGGER refuses BEFORE UPDATE ON jobs {trigger}"]
    else:
        function = "FUNCTION refuse()"
        raises = "BEGIN RAISE EXCEPTION 'damaged' USING ERRCODE = 'check_violation'; END"
        statements = [
            f"CREATE {function} RETURNS trigger LANGUAGE plpgsql AS '{raises.replace(chr(39), chr(39) * 2)}'",
            f"CREATE TRIGGER refuses BEFORE UPDATE ON jobs FOR EACH ROW WHEN (NEW.id = '{job_id}') EXECUTE {function}",
        ]
    with database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def accept_changes(database: Database) -> None:
    """Mend what `refuse_changes` has damaged."""
    on = "" if database.engine.dialect.name == "sqlite" else " ON jobs"
    with database.write() as session:
        session.execute(text(f"DROP TRIGGER refuses{on}"))


def set_columns(database: Database, job_id: str, **values: Any) -> None:
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(**values))


def become_lost(database: Database, job_id: str) -> None:
    expire_lease(database, job_id)


def become_overdue(database: Database, job_id: str) -> None:
    set_columns(database, job_id, deadline_at=now() - 1)


def become_due(database: Database, job_id: str) -> None:
    set_columns(database, job_id, not_before=now() - 1)


def become_unknown(database: Database, job_id: str) -> None:
    set_columns(database, job_id, model="gone", created_at=now() - HOUR)


CASES = {
    "lost jobs": (become_lost, "queued"),
    "overdue jobs": (become_overdue, "failed"),
    "due jobs": (become_due, "queued"),
    "jobs of unknown models": (become_unknown, "failed"),
}


@pytest.mark.parametrize("duty", CASES)
def test_a_job_that_cannot_be_changed_is_set_aside_and_the_others_are_changed(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, duty: str
):
    become, state = CASES[duty]
    [damaged] = submit(database, new_jobs(catalogue))
    others = submit(database, new_jobs(catalogue, 3), OTHER)
    for job_id in (damaged, *others):
        become(database, job_id)
    refuse_changes(database, damaged)
    dispatcher = make_dispatcher()
    seconds = 0.0  # of the record of failing items: a slow machine must not reach a retry
    dispatcher.runner._clock = lambda: seconds
    dispatcher.repair()

    def states(*ids: str) -> set[tuple[str, bool]]:
        with database.read() as session:
            jobs = [session.get_one(Job, job_id) for job_id in ids]
            return {(job.state, job.not_before is None) for job in jobs}

    assert states(*others) == {(state, True)}
    assert [(item.duty, item.item) for item in dispatcher.runner.failing_items()] == [(duty, damaged)]
    [later] = submit(database, new_jobs(catalogue), OTHER)
    become(database, later)
    dispatcher.repair()  # the damaged job waits for its retry, and does not make this sweep fail
    assert states(later) == {(state, True)}
    assert dispatcher.runner.failures() == {duty: 1}
    accept_changes(database)
    seconds = HOUR
    dispatcher.repair()
    assert not dispatcher.runner.failing_items()
    assert states(damaged) == {(state, True)}


@pytest.mark.parametrize("damaged", [5, "job.failed", None, {"job.failed": 1}])
def test_jobs_of_a_tenant_with_a_damaged_webhook_endpoint_end_like_others(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, damaged: Any
):
    [job_id] = submit(database, new_jobs(catalogue))
    endpoint = WebhookEndpoint(
        id="we_1", tenant_id=TENANT, name="", url="http://127.0.0.1:1/", event_types=damaged, created_at=1.0,
        updated_at=1.0,
    )  # fmt: skip
    with database.write() as session:
        session.add(endpoint)
    become_overdue(database, job_id)
    dispatcher = make_dispatcher()
    dispatcher.repair()
    with database.read() as session:
        assert session.get_one(Job, job_id).state == "failed"
    assert dispatcher.runner.failing_items() == []
