"""Frozen databases and locked rows: healthy leases are not reaped, and a standby takes over."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import select, text, update
from sqlalchemy.exc import DBAPIError
from tests.processes import eventually
from tests.unit.dispatcher.dispatcher_processes import (
    expire_lease,
    make_dispatcher,
    new_jobs,
    published,
    redis,
    submit,
    tick,
)

from limner_dispatcher import repair
from limner_dispatcher.leadership import NotLeading
from limner_shared.db import release_queries
from limner_shared.db.engine import Database, now
from limner_shared.db.postgresql_engine import CLIENT_LIMITS, CONNECTION_LIMITS, PLANNING, TRANSACTION_LIMITS
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue

__all__ = ["make_dispatcher", "redis"]

postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def state(database: Database, job_id: str) -> str | None:
    with database.read() as session:
        return session.scalar(select(Job.state).where(Job.id == job_id))


def test_leases_are_not_reaped_directly_after_an_outage(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    [job_id] = submit(database, new_jobs(catalogue))
    expire_lease(database, job_id)
    dispatcher = make_dispatcher()
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 3600.0)
    dispatcher._repairs.outage()
    dispatcher.repair()
    assert state(database, job_id) == "running"
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 0.0)
    dispatcher._repairs.outage()
    dispatcher.repair()
    assert state(database, job_id) == "queued"


def test_leases_are_not_reaped_after_the_database_was_frozen_within_a_round(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    [job_id] = submit(database, new_jobs(catalogue))
    expire_lease(database, job_id)
    has_job = release_queries.has_job

    def frozen(*arguments: Any):
        monkeypatch.setattr(repair, "GAP_SECONDS", 0.0)  # as if this read had taken longer
        return has_job(*arguments)

    monkeypatch.setattr(release_queries, "has_job", frozen)
    make_dispatcher().repair()
    assert state(database, job_id) == "running"


def test_healthy_leases_are_not_reaped_by_a_statement_in_which_the_database_was_frozen(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    [job_id] = submit(database, new_jobs(catalogue))
    expire_lease(database, job_id)  # by the clock that the statement reads after the freeze
    reap = repair.ledger.reap
    reaped: list[Any] = []

    def frozen(session: Any, *arguments: Any) -> list[Any]:
        monkeypatch.setattr(repair, "GAP_SECONDS", 0.0)  # as if this statement had taken longer
        reaped.extend(reap(session, *arguments))
        return reaped

    monkeypatch.setattr(repair.ledger, "reap", frozen)
    dispatcher = make_dispatcher()
    dispatcher.repair()
    assert [change.id for change in reaped] == [job_id]
    assert state(database, job_id) == "running"
    with database.write() as session:  # the worker renews it, as after any outage
        session.execute(update(Job).values(lease_until=now() + 60))
    monkeypatch.setattr(repair.ledger, "reap", reap)
    dispatcher.repair()
    assert state(database, job_id) == "running"


def test_leases_are_reaped_although_every_round_is_slow(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(repair, "GAP_SECONDS", 0.0)
    monkeypatch.setattr(repair, "RENEWAL_SECONDS", 0.01)
    [job_id] = submit(database, new_jobs(catalogue))
    expire_lease(database, job_id)
    dispatcher = make_dispatcher()

    def reaped() -> bool:
        dispatcher.repair()
        return state(database, job_id) == "queued"

    eventually(reaped)


@postgresql
def test_a_job_locked_by_a_frozen_worker_does_not_stop_other_jobs(
    make_dispatcher: Callable[..., Any], database: Database, catalogue: Catalogue, redis: Redis
):
    held, lost, waiting = submit(database, new_jobs(catalogue, 3))
    expire_lease(database, held)
    expire_lease(database, lost)
    with database.engine.connect() as worker:
        worker.execute(text("UPDATE jobs SET lease_until = 0 WHERE id = :id"), {"id": held})  # without COMMIT
        dispatcher = make_dispatcher()
        tick(dispatcher)
        assert dispatcher.runner.failing_items() == []
        assert published(redis) == {lost, waiting}
    tick(dispatcher)
    assert held in published(redis)


@postgresql
def test_a_standby_takes_over_from_a_leader_frozen_in_a_transaction(
    make_dispatcher: Callable[..., Any],
    database: Database,
    database_url: str,
    catalogue: Catalogue,
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("limner_dispatcher.leadership.LEAD_SECONDS", 0.5)
    monkeypatch.setitem(TRANSACTION_LIMITS, "idle_in_transaction_session_timeout", 2000)
    leader_database = Database(database_url)
    leader, standby = make_dispatcher(on=leader_database), make_dispatcher()
    [job_id] = submit(database, new_jobs(catalogue))

    def takes_over() -> bool:
        with suppress(NotLeading):
            standby.release()
        return job_id in published(redis)

    with suppress(DBAPIError), leader._leads["dispatch"].write() as session:
        assert session.scalar(text("SELECT owner FROM leaders WHERE duty = 'dispatch'")) == leader.owner
        for _ in range(3):
            with pytest.raises(NotLeading):
                standby.release()  # fails at once
        eventually(takes_over, 20)
        assert standby._leads["dispatch"].leads
    leader_database.dispose()


@postgresql
def test_connections_have_settings_that_migrations_and_the_url_can_override(database_url: str):
    def shown(url: str, *, limited: bool = True) -> dict[str, str]:
        database = Database(url, limited=limited)
        with database.engine.connect() as connection:
            found = {
                name: connection.scalar(text(f"SHOW {name}"))
                for name in {**TRANSACTION_LIMITS, **CONNECTION_LIMITS, **PLANNING}
            }
        database.dispose()
        return found

    limits = shown(database_url)
    assert (limits["lock_timeout"], limits["statement_timeout"]) == ("4s", "30s")
    assert (limits["idle_in_transaction_session_timeout"], limits["random_page_cost"]) == ("6s", "1.1")
    assert shown(database_url, limited=False)["statement_timeout"] == "0"
    joined = "&" if "?" in database_url else "?"
    own = shown(
        f"{database_url}{joined}options=-c%20statement_timeout%3D5000%20-c%20random_page_cost%3D4&connect_timeout=9"
    )
    assert (own["statement_timeout"], own["lock_timeout"], own["random_page_cost"]) == ("5s", "4s", "4")


@postgresql
def test_the_client_gives_up_a_server_that_does_not_answer(database: Database):
    with database.engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        parameters = driver.info.get_parameters()
    wanted = {name: str(value) for name, value in CLIENT_LIMITS.items()}
    assert {name: parameters.get(name) for name in wanted} == wanted
