"""Draining by command and API: who is meant, what is refused, and what is recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
from click.testing import CliRunner, Result
from redis import Redis
from tests.parameters import on_sqlite
from tests.redis_clients import redis_at

from limner_client.cli.main import cli
from limner_client.local.embedded_valkey import free_port
from limner_dispatcher.leadership import Leadership
from limner_dispatcher.lost_drains import ABSENT_SECONDS, LostDrains
from limner_shared.db import pause_queries
from limner_shared.db.accounts import audit, pauses
from limner_shared.db.engine import Database
from limner_shared.domain.pauses import DRAIN_SECONDS, PauseKind
from limner_shared.messaging.hints import connect
from limner_shared.messaging.reports import WorkerReport, delete_report, write_report

ONE, TWO, OTHER = "gpu-1:7:0123abcd", "gpu-1:8:0123abcd", "gpu-10:7:0123abcd"
Run = Callable[..., Result]


@pytest.fixture
def redis(redis_url: str) -> Iterator[Redis]:
    with redis_at(redis_url) as client:
        for owner in (ONE, TWO, OTHER):
            write_report(client, report(owner))
        yield client


def report(owner: str, held: int = 0, *, draining: bool = False) -> WorkerReport:
    return WorkerReport(owner=owner, models=["null"], device="cpu", held=held, closed=[], stalled=[], draining=draining)


@pytest.fixture
def run(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name, value in {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(f"LIMNER_{name}", value)
    return lambda *words: CliRunner().invoke(cli, words)


def drained(database: Database) -> set[str]:
    with database.read() as session:
        rows = pause_queries.pauses(session)
        assert all(0 < cast("float", row.until) - row.paused_at <= DRAIN_SECONDS for row in rows)
        return {row.subject for row in rows if row.kind == PauseKind.WORKER}


def test_a_worker_is_named_by_its_id_or_by_its_machine(run: Run, database: Database, redis: Redis) -> None:
    assert run("drain", ONE).exit_code == 0
    assert drained(database) == {ONE}
    assert run("drain", "gpu-1", "--reason", "kernel").exit_code == 0
    assert drained(database) == {ONE, TWO}
    listed = run("queue", "list").output
    assert "kernel" in listed
    assert TWO in listed
    assert run("drain", "--undo", "gpu-1:7").exit_code == 0
    assert drained(database) == {TWO}
    with database.read() as session:
        assert not pause_queries.paused(session)
        actions = [(entry.action, entry.detail["worker"]) for entry, _ in audit.newest_entries(session, 1)]
    assert actions == [("queue_resumed", ONE)]


@on_sqlite
@pytest.mark.parametrize("name", ["gpu", "gpu-2", "gpu-1:9", "", ":7"])
def test_an_unknown_worker_is_refused_and_the_running_ones_are_named(
    run: Run, database: Database, redis: Redis, name: str
) -> None:
    refused = run("drain", name)
    assert refused.exit_code == 1
    assert OTHER in refused.output
    assert drained(database) == set()
    assert run("drain", "--undo", name).exit_code == 1


def test_without_redis_a_complete_id_drains_and_nothing_else_is_guessed(
    run: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    refused = run("drain", "gpu-1")
    assert refused.exit_code == 1
    assert "complete id" in " ".join(refused.output.split())
    waited = run("drain", ONE, "--wait")
    assert waited.exit_code == 1
    assert "--wait" in waited.output
    assert drained(database) == {ONE}


def test_wait_returns_when_every_worker_is_empty_or_gone(run: Run, redis: Redis) -> None:
    write_report(redis, report(ONE, draining=True))
    delete_report(redis, WorkerReport, TWO)
    done = run("drain", ONE, "--wait")
    assert done.exit_code == 0, done.output
    assert "holds no job" in done.output


def test_the_order_of_a_worker_that_was_killed_ends_once_it_is_gone_for_an_hour(
    database: Database, redis: Redis, redis_url: str
) -> None:
    now = 0.0
    with database.write() as session:
        for owner in (ONE, TWO):
            pauses.pause(session, PauseKind.WORKER, owner, None, None, actor=audit.OPERATOR)
    lead = Leadership(database, "repair", "a test")
    delete_report(redis, WorkerReport, TWO)
    with connect(f"redis://127.0.0.1:{free_port()}/0") as away:
        here, there = (LostDrains(database, lead, each, lambda: now) for each in (redis, away))
        for seconds in (0.0, ABSENT_SECONDS - 1):
            now = seconds
            here.end_lost_drains()
            there.end_lost_drains()
        assert drained(database) == {ONE, TWO}
        now = 2 * ABSENT_SECONDS
        there.end_lost_drains()
        assert drained(database) == {ONE, TWO}
        here.end_lost_drains()
        assert drained(database) == {ONE}


def test_the_order_of_a_worker_ends_with_it(database: Database) -> None:
    with database.write() as session:
        for owner in (ONE, TWO):
            pauses.pause(session, PauseKind.WORKER, owner, None, None, actor=audit.OPERATOR)
        pauses.end_drain(session, ONE)
        pauses.end_drain(session, ONE)
    assert drained(database) == {TWO}
