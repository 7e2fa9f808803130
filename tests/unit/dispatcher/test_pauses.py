"""Paused models and tenants, with a real Valkey and both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench.statements import recorded, scans
from click.testing import CliRunner, Result
from redis import Redis
from sqlalchemy import update
from tests.dispatchers import MODEL, OTHER, TENANT, claim, job, make_dispatcher, published, redis, submit, tick
from tests.parameters import on_sqlite

from limner_client.cli.main import cli
from limner_shared.db import ledger, pause_queries, queries
from limner_shared.db.accounts import audit, pauses
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Job, Pause
from limner_shared.domain.access import Expiry
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState, Lane, Priority
from limner_shared.domain.pauses import PauseKind
from limner_shared.errors import InvalidRequest, NotFound, StorageFailed

__all__ = ["make_dispatcher", "redis"]
HOUR = 3600.0


def pause(database: Database, kind: PauseKind, subject: str, reason: str | None = None, hours: float = 0) -> str:
    until = Expiry(hours * HOUR, is_relative=True) if hours else None
    with database.write() as session:
        return pauses.pause(session, kind, subject, reason, until, actor=audit.OPERATOR).id


def resume(database: Database, pause_id: str) -> None:
    with database.write() as session:
        pauses.resume(session, pause_id, actor=audit.OPERATOR)


def claim_next(database: Database) -> list[str]:
    with database.write() as session:
        return [one.id for one in ledger.claim_next(session, [MODEL], 9, "me", 60)]


def submit_single(database: Database, catalogue: Catalogue, tenant: str = TENANT) -> ledger.Submission:
    card, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    with database.write() as session:
        ledger.ensure_tenant(session, tenant, tenant)
        new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)
        return ledger.submit(session, tenant, [new], window=8)


SUBJECTS = pytest.mark.parametrize(
    ("kind", "subject"), [(PauseKind.MODEL, MODEL), (PauseKind.TENANT, TENANT), (PauseKind.OWN, TENANT)]
)


@SUBJECTS
def test_jobs_are_accepted_and_wait_while_their_model_or_tenant_is_paused(
    make_dispatcher: Any, database: Database, catalogue: Catalogue, redis: Redis, kind: PauseKind, subject: Any
):
    dispatcher = make_dispatcher()
    paused = pause(database, kind, subject)
    ids = [*submit(database, catalogue, 2), submit_single(database, catalogue).changes[0].id]
    tick(dispatcher)
    assert published(redis) == {}
    assert claim(database, *ids) == []
    assert claim_next(database) == []
    resume(database, paused)
    tick(dispatcher)
    assert published(redis).keys() == set(ids)
    assert len(claim(database, *ids)) == 3


@SUBJECTS
def test_released_jobs_are_taken_back_and_running_ones_end(
    make_dispatcher: Any, database: Database, catalogue: Catalogue, redis: Redis, kind: PauseKind, subject: Any
):
    dispatcher = make_dispatcher()
    first, *others = submit(database, catalogue, 3)
    tick(dispatcher)
    [running] = claim(database, first)
    paused = pause(database, kind, subject)
    assert claim(database, *others) == []  # as soon as the pause is committed, whatever is in Redis
    tick(dispatcher)
    assert {job(database, one).released_at for one in others} == {None}
    with database.write() as session:
        assert ledger.renew(session, [running.key], 60) == {running.key}
        assert [change.id for change in ledger.finish(session, [ledger.Result(first, 1)])] == [first]
    tick(dispatcher)
    assert published(redis)[others[0]] == 1  # the old message: nothing was published again
    resume(database, paused)
    tick(dispatcher)
    assert published(redis)[others[0]] == 2
    assert {one.id for one in claim(database, *others)} == set(others)


@SUBJECTS
def test_a_paused_job_that_is_retried_or_loses_its_worker_waits(
    make_dispatcher: Any, database: Database, catalogue: Catalogue, kind: PauseKind, subject: Any
):
    dispatcher = make_dispatcher()
    retried, lost = submit(database, catalogue, 2, max_retries=1)
    [attempt] = claim(database, retried)
    claim(database, lost, lease=-1)
    pause(database, kind, subject)
    with database.write() as session:
        ledger.fail(session, ledger.Result(retried, attempt.attempt, error=StorageFailed()))
        session.execute(update(Job).where(Job.id == retried).values(not_before=now() - 1))
    tick(dispatcher)
    tick(dispatcher)
    for one in (retried, lost):
        found = job(database, one)
        assert (found.state, found.not_before, found.released_at) == (JobState.QUEUED, None, None)
    assert claim_next(database) == []


def test_a_paused_tenant_does_not_slow_down_the_others(
    make_dispatcher: Any, database: Database, catalogue: Catalogue, redis: Redis
):
    dispatcher = make_dispatcher()
    pause(database, PauseKind.TENANT, TENANT)
    submit(database, catalogue, 40, priority=Priority.NORMAL)
    submission = submit_single(database, catalogue, OTHER)
    assert [released.lane for released in submission.released] == [Lane.NORMAL]  # at once, as if the others had none
    bulk = submit(database, catalogue, 20, tenant=OTHER)
    tick(dispatcher)
    assert published(redis).keys() == set(bulk[:8])  # the whole window
    assert claim_next(database) != []


def test_other_models_are_not_paused(make_dispatcher: Any, database: Database, catalogue: Catalogue, redis: Redis):
    dispatcher = make_dispatcher()
    pause(database, PauseKind.MODEL, "limner-gan")
    ids = submit(database, catalogue, 2)
    tick(dispatcher)
    assert published(redis).keys() == set(ids)
    assert len(claim(database, *ids)) == 2


def test_skipping_paused_jobs_reads_none_of_them(make_dispatcher: Any, database: Database, catalogue: Catalogue):
    dispatcher = make_dispatcher()
    submit(database, catalogue, 3000)
    pause(database, PauseKind.TENANT, TENANT)
    pause(database, PauseKind.MODEL, "limner-gan")
    with database.write() as session:
        session.connection().exec_driver_sql("ANALYZE")
    with recorded(database) as statements:
        tick(dispatcher)
        submit_single(database, catalogue, OTHER)
        claim_next(database)
    assert scans(database, statements) == []
    assert not any(TENANT in str(one.parameters) and "jobs.cost" in one.sql for one in statements.values())


def test_a_pause_ends_at_its_time_and_that_is_recorded(
    make_dispatcher: Any, database: Database, catalogue: Catalogue, redis: Redis
):
    dispatcher = make_dispatcher()
    [waiting] = submit(database, catalogue)
    paused = pause(database, PauseKind.MODEL, MODEL, hours=1)
    tick(dispatcher)
    assert published(redis) == {}
    with database.write() as session:
        session.execute(update(Pause).values(until=now() - 1))
    tick(dispatcher)
    assert published(redis).keys() == {waiting}
    with database.read() as session:
        assert session.get(Pause, paused) is None
        entries = [(entry.actor, entry.action, entry.subject) for entry, _ in audit.newest_entries(session, 9)]
    assert entries == [("system", "queue_resumed", paused), ("operator", "queue_paused", paused)]


def test_a_repeated_pause_changes_reason_and_end_and_every_change_is_recorded(database: Database):
    first = pause(database, PauseKind.TENANT, TENANT, "disk full")
    assert pause(database, PauseKind.TENANT, TENANT, "moving", hours=2) == first
    with database.read() as session:
        [row] = pause_queries.pauses(session)
        assert (row.reason, row.until is None) == ("moving", False)
    resume(database, first)
    with pytest.raises(NotFound):
        resume(database, first)
    with database.read() as session:
        entries = [(entry.action, entry.detail) for entry in audit.tenant_entries(session, TENANT, 9)]
    assert [action for action, _ in entries] == ["queue_resumed", "queue_paused", "queue_paused"]
    assert entries[-1][1] == {"tenant": TENANT, "reason": "disk full", "until": None}


@on_sqlite
@pytest.mark.parametrize("hours", [-1, 24 * 3661, float("nan"), float("inf")])
def test_a_pause_cannot_end_in_the_past_or_in_a_decade(database: Database, hours: Any):
    with pytest.raises(InvalidRequest, match="in the future"):
        pause(database, PauseKind.MODEL, MODEL, hours=hours)
    with database.read() as session:
        assert not pause_queries.paused(session)


def test_a_job_of_a_paused_model_can_be_canceled_and_expires(
    make_dispatcher: Any, database: Database, catalogue: Catalogue
):
    canceled, expired = submit(database, catalogue, 2)
    pause(database, PauseKind.MODEL, MODEL)
    with database.write() as session:
        session.execute(update(Job).where(Job.id == expired).values(deadline_at=now() - 1))
        assert [change.id for change in ledger.cancel(session, Job.id == canceled)] == [canceled]
    make_dispatcher().repair()
    with database.read() as session:
        assert queries.job(session, TENANT, expired).error_code == "deadline_exceeded"


# --- the command ---


@pytest.fixture
def run(database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("LIMNER_DATABASE_URL", database_url)
    monkeypatch.setenv("LIMNER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(cli, ["queue", *arguments])

    return invoke


def test_the_command_pauses_lists_and_resumes(run: Any):
    assert run("pause", "--model", MODEL, "--reason", "new [weights]", "--until", "12h").exit_code == 0
    assert run("pause", "--tenant", "local").exit_code == 0
    listed = run("list").output
    assert "new [weights]" in listed
    assert [line.split()[:2] for line in listed.splitlines()[1:]] == [["model", MODEL], ["tenant", "local"]]
    assert run("resume", "--model", MODEL).exit_code == 0
    assert run("resume", "--tenant", "local").exit_code == 0
    assert run("list").output.splitlines()[1:] == []


@on_sqlite
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("pause",), 2, "either --model or --tenant"),
        (("pause", "--model", MODEL, "--tenant", "local"), 2, "either --model or --tenant"),
        (("pause", "--model", "limner-flwo"), 2, "limner-flow"),
        (("pause", "--tenant", "acme"), 1, "There is no tenant 'acme'"),
        (("pause", "--model", MODEL, "--until", "yesterday"), 2, "duration"),
        (("pause", "--model", MODEL, "--until", "2020-01-01"), 2, "in the future"),
        (("pause", "--model", MODEL, "--reason", "x" * 201), 2, "--reason"),
        (("pause", "--model", MODEL, "--reason", "a\udcffb"), 2, "--reason"),
        (("resume", "--model", MODEL), 1, "not paused"),
    ],
)
def test_an_invalid_command_says_what_to_change_and_pauses_nothing(run: Any, arguments: Any, code: int, says: str):
    result = run(*arguments)
    assert (result.exit_code, says in result.output) == (code, True), result.output
    assert run("list").output.splitlines()[1:] == []
