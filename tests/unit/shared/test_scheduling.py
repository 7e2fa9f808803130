"""Jobs that wait for a time: scheduled by their client, or for a retry. With both databases."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from bench.statements import Statement, recorded, scans
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select, text, update

from limner_shared.db import ledger, queries, release_queries, waiting_queries
from limner_shared.db.engine import Database, clock, now
from limner_shared.db.tables import Event, Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState, Lane, Priority
from limner_shared.domain.scheduling import (
    BACKOFF_BASE_SECONDS,
    BACKOFF_CAP_SECONDS,
    BACKOFF_FACTOR,
    backoff_seconds,
)
from limner_shared.errors import GenerationFailed, LimnerError, SigningUnavailable, StorageFailed, TooManyRequests

TENANT = ledger.LOCAL_TENANT
MODEL = "limner-flow"
HOUR = 3600.0
IMAGE = ledger.NewImage("ab" * 32, "image/png", 256, 256, 1234, 7, {})


def moment(database: Database) -> float:
    with database.read() as session:
        return clock(session)


def submit(database: Database, catalogue: Catalogue, count: int = 1, window: int = 0, **more: Any) -> list[str]:
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    with database.write() as session:
        jobs = [ledger.NewJob(spec, 1, Priority.NORMAL, **more)] * count
        return [change.id for change in ledger.submit(session, TENANT, jobs, window=window).changes]


def claim(database: Database, *ids: str, lease: float = 60) -> list[ledger.Claim]:
    with database.write() as session:
        return ledger.claim(session, ids, "me", lease)


def claim_next(database: Database, limit: int = 9) -> list[str]:
    with database.write() as session:
        return [one.id for one in ledger.claim_next(session, [MODEL], limit, "me", 60)]


def start_due(database: Database, limit: int = 1000) -> set[str]:
    with database.write() as session:
        return {change.id for change in ledger.start_due(session, limit)}


def fail(database: Database, claimed: ledger.Claim, error: LimnerError | None = None) -> ledger.Change | None:
    with database.write() as session:
        return ledger.fail(session, ledger.Result(claimed.id, claimed.attempt, error=error or StorageFailed()))


def arrive(database: Database, job_id: str) -> None:
    """Let the time come that a job waits for."""
    with database.write() as session:
        session.execute(update(Job).where(Job.id == job_id).values(not_before=now() - 1))


def row(database: Database, job_id: str) -> Job:
    with database.read() as session:
        return queries.job(session, TENANT, job_id)


def waiting(database: Database) -> list[str]:
    with database.read() as session:
        return [job.id for job in release_queries.waiting_jobs(session, MODEL, 1, TENANT, TENANT, "", 99)]


# --- scheduled jobs ---


def test_a_scheduled_job_is_neither_released_nor_claimed_before_its_time(database: Database, catalogue: Catalogue):
    [job_id] = submit(database, catalogue, window=9, not_before=moment(database) + HOUR)
    assert start_due(database) == set()
    with database.write() as session:
        assert not release_queries.unserved_models(session, [])
        assert release_queries.waiting_tenants(session, MODEL, 1) == []
        assert ledger.release(session, Lane.NORMAL, [job_id]) == []
        assert not release_queries.has_job(session, release_queries.DUE)
    assert claim(database, job_id) == claim_next(database) == []
    arrive(database, job_id)
    before = row(database, job_id).version
    assert start_due(database) == {job_id}
    assert start_due(database) == set()
    assert (row(database, job_id).not_before, row(database, job_id).version) == (None, before + 1)
    with database.write() as session:
        assert [job.id for job in ledger.release(session, Lane.NORMAL, [job_id])] == [job_id]
    assert [one.id for one in claim(database, job_id)] == [job_id]


def test_only_the_databases_clock_decides_when_a_job_is_due(
    database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    [job_id] = submit(database, catalogue, not_before=moment(database) + HOUR)
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert start_due(database) == set()
    assert row(database, job_id).not_before is not None


def test_a_job_scheduled_for_the_past_is_released_at_once(database: Database, catalogue: Catalogue):
    [job_id] = submit(database, catalogue, window=9, not_before=moment(database) - 1)
    assert row(database, job_id).not_before is None
    assert row(database, job_id).released_at is not None


def test_a_due_job_is_claimed_although_no_dispatcher_runs(database: Database, catalogue: Catalogue):
    early, late = (submit(database, catalogue, not_before=moment(database) + HOUR)[0] for _ in range(2))
    arrive(database, late)
    assert claim_next(database) == [late]
    assert row(database, early).state == JobState.QUEUED


def test_a_scheduled_job_can_expire_and_be_canceled(database: Database, catalogue: Catalogue):
    expired, canceled = (submit(database, catalogue, not_before=moment(database) + HOUR)[0] for _ in range(2))
    with database.write() as session:
        session.execute(update(Job).where(Job.id == expired).values(deadline_at=now() - 1))
        assert [change.id for change in ledger.expire(session, 9)] == [expired]
        assert [change.id for change in ledger.cancel(session, Job.id == canceled)] == [canceled]
        session.execute(update(Job).values(not_before=1.0))
        assert not release_queries.has_job(session, release_queries.DUE)
    assert start_due(database) == set()
    assert [row(database, job_id).state for job_id in (expired, canceled)] == ["failed", "canceled"]


def test_scheduled_jobs_are_passed_over_and_keep_their_place(database: Database, catalogue: Catalogue):
    [first] = submit(database, catalogue)
    scheduled = submit(database, catalogue, 3, not_before=moment(database) + HOUR)
    [last] = submit(database, catalogue)
    assert waiting(database) == [first, last]
    with database.read() as session:
        assert waiting_queries.position(session, queries.job(session, TENANT, last)) == 1
    for job_id in reversed(scheduled):
        arrive(database, job_id)
    assert len(start_due(database, 2)) == 2
    assert len(start_due(database, 2)) == 1
    assert waiting(database) == [first, *scheduled, last]


def assert_ready_jobs_are_read_by_their_index(database: Database, statements: dict[str, Statement]) -> None:
    """SQLite does not report the rows it reads, so the plan must name the index; `scans` counts PostgreSQL's rows."""
    if database.engine.dialect.name != "sqlite":
        return
    ready = [each for each in statements.values() if "not_before IS NULL" in each.sql and "ORDER BY" in each.sql]
    assert len(ready) > 3
    with database.engine.connect() as connection:
        for each in ready:
            plan = str(connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {each.sql}", each.parameters).all())
            assert "ix_jobs_ready" in plan, each
            assert "ix_jobs_waiting" not in plan, each
            assert "tenant_id_model_state" not in plan, each


def test_ten_thousand_scheduled_jobs_cost_the_release_no_scan(database: Database, catalogue: Catalogue):
    at = moment(database) + HOUR
    for _ in range(10):
        submit(database, catalogue, 1000, not_before=at)
    [job_id] = submit(database, catalogue)
    with recorded(database) as statements:
        with database.write() as session:
            assert release_queries.unserved_models(session, []) == {MODEL}
            assert release_queries.waiting_tenants(session, MODEL, 1) == [TENANT]
            [queue] = release_queries.waiting_queues(session, MODEL, 1, TENANT, "", 9)
            assert queue.head.id == job_id
            assert ledger.read_intake_state(session, TENANT, MODEL, Priority.NORMAL).others_wait
            assert not ledger.read_intake_state(session, TENANT, MODEL, Priority.HIGH).others_wait
            assert waiting_queries.position(session, queries.job(session, TENANT, job_id)) == 0
            assert not release_queries.has_job(session, release_queries.DUE)
            assert ledger.start_due(session, 1000) == []
        assert waiting(database) == [job_id]
        assert claim_next(database) == [job_id]
    assert_ready_jobs_are_read_by_their_index(database, statements)
    with database.engine.connect() as connection:
        connection.execute(text("ANALYZE"))
        connection.commit()
    assert_ready_jobs_are_read_by_their_index(database, statements)
    assert scans(database, statements) == []


# --- retries ---


@given(retries=st.integers(0, 10_000), fraction=st.floats(0, 1, exclude_max=True))
def test_a_backoff_is_below_its_exponential_bound_and_the_cap(retries: int, fraction: float):
    seconds = backoff_seconds(retries, fraction)
    assert 0 <= seconds <= min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * BACKOFF_FACTOR ** min(retries, 64))
    assert seconds == pytest.approx(fraction * backoff_seconds(retries, 1.0))
    assert backoff_seconds(retries + 1, fraction) >= seconds


def test_a_retryable_error_requeues_a_job_up_to_its_limit(database: Database, catalogue: Catalogue):
    [job_id] = submit(database, catalogue, max_retries=2)
    for retry in (1, 2):
        [claimed] = claim(database, job_id)
        before = moment(database)
        change = fail(database, claimed)
        assert change is not None
        assert change.state is JobState.QUEUED
        job = row(database, job_id)
        assert (job.retries, job.losses, job.attempt, job.owner) == (retry, 0, retry, None)
        assert (job.error_code, job.error_retryable, job.finished_at) == ("storage_failed", True, None)
        assert before <= job.not_before <= moment(database) + BACKOFF_BASE_SECONDS * BACKOFF_FACTOR ** (retry - 1)
        arrive(database, job_id)
        assert start_due(database) == {job_id}
    [claimed] = claim(database, job_id)
    change = fail(database, claimed)
    assert change is not None
    assert change.state is JobState.FAILED
    with database.read() as session:
        events = session.execute(select(Event.kind, Event.detail).where(Event.job_id == job_id).order_by(Event.id))
        found = [(kind, detail.get("retry"), detail.get("error")) for kind, detail in events if kind != "claimed"]
    assert found == [
        ("retried", 1, "storage_failed"),
        ("due", None, None),
        ("retried", 2, "storage_failed"),
        ("due", None, None),
        ("failed", None, None),
    ]


@pytest.mark.parametrize(
    ("error", "more"),
    [
        (GenerationFailed(), {"max_retries": 9}),
        (StorageFailed(), {"max_retries": 0}),
        (TooManyRequests(retry_after=40_000), {"max_retries": 9}),
        (StorageFailed(), {"max_retries": 9, "expires_in": -1}),
    ],
)
def test_a_job_is_not_retried_after_a_lasting_error_or_its_deadline(
    database: Database, catalogue: Catalogue, error: Any, more: dict[str, Any]
):
    [job_id] = submit(database, catalogue, **more)
    [claimed] = claim(database, job_id)
    change = fail(database, claimed, error)
    assert change is not None
    assert change.state is JobState.FAILED
    assert (row(database, job_id).retries, row(database, job_id).not_before) == (0, None)


def test_a_retry_waits_at_least_as_long_as_the_error_asks(database: Database, catalogue: Catalogue):
    [job_id] = submit(database, catalogue, max_retries=1)
    [claimed] = claim(database, job_id)
    before = moment(database)
    fail(database, claimed, TooManyRequests(retry_after=200))
    assert before + 200 <= row(database, job_id).not_before <= moment(database) + 200 + BACKOFF_BASE_SECONDS


def test_a_job_waits_for_what_the_service_depends_on_without_losing_retries(database: Database, catalogue: Catalogue):
    [job_id] = submit(database, catalogue, max_retries=0)
    for _ in range(3):
        [claimed] = claim(database, job_id)
        before = moment(database)
        change = fail(database, claimed, SigningUnavailable(retry_after=BACKOFF_CAP_SECONDS))
        assert change is not None
        job = row(database, job_id)
        assert (change.state, job.retries, job.error_code) == (JobState.QUEUED, 0, "signing_failed")
        assert job.not_before >= before + BACKOFF_CAP_SECONDS
        arrive(database, job_id)
        assert start_due(database) == {job_id}


def test_a_retried_job_that_succeeds_keeps_its_count(database: Database, catalogue: Catalogue):
    [job_id] = submit(database, catalogue, max_retries=1)
    fail(database, claim(database, job_id)[0])
    arrive(database, job_id)
    start_due(database)
    [claimed] = claim(database, job_id)
    with database.write() as session:
        assert len(ledger.finish(session, [ledger.Result(job_id, claimed.attempt, [IMAGE])])) == 1
    assert (row(database, job_id).state, row(database, job_id).retries) == ("succeeded", 1)


def test_a_duplicate_message_does_not_shorten_a_backoff(
    database: Database, catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
):
    def an_hour(*_: object) -> float:
        return HOUR

    monkeypatch.setattr("limner_shared.db.ledger.scheduling.backoff_seconds", an_hour)
    [job_id] = submit(database, catalogue, window=9, max_retries=1)
    fail(database, claim(database, job_id)[0])
    assert claim(database, job_id) == claim_next(database) == []


def test_a_late_error_of_an_earlier_attempt_retries_nothing(database: Database, catalogue: Catalogue):
    [job_id] = submit(database, catalogue, max_retries=9)
    [zombie] = claim(database, job_id, lease=-1)
    with database.write() as session:
        ledger.reap(session, 2)
    [second] = claim(database, job_id)
    assert fail(database, zombie) is None
    job = row(database, job_id)
    assert (job.state, job.attempt, job.retries, job.losses) == ("running", second.attempt, 0, 1)
    fail(database, second)
    with database.write() as session:  # the zombie's result arrives while the job waits for its retry
        assert ledger.finish(session, [ledger.Result(job_id, zombie.attempt, [IMAGE])]) == []
        assert ledger.finish(session, [ledger.Result(job_id, second.attempt, [IMAGE])]) == []
    job = row(database, job_id)
    assert (job.state, job.retries, job.losses) == ("queued", 1, 1)


def test_a_canceled_job_is_not_retried(database: Database, catalogue: Catalogue):
    [job_id] = submit(database, catalogue, max_retries=9)
    [claimed] = claim(database, job_id)
    with database.write() as session:
        ledger.cancel(session, Job.id == job_id)
    assert fail(database, claimed) is None
    assert (row(database, job_id).state, row(database, job_id).retries) == ("canceled", 0)


def test_a_cancellation_that_races_with_a_retry_wins(database: Database, catalogue: Catalogue):
    ids = submit(database, catalogue, 20, max_retries=9)
    for claimed in claim(database, *ids):
        barrier = Barrier(2)

        def cancel(job_id: str = claimed.id, barrier: Barrier = barrier) -> None:
            barrier.wait()
            with database.write() as session:
                assert len(ledger.cancel(session, Job.id == job_id)) == 1

        with ThreadPoolExecutor(1) as pool:
            canceling = pool.submit(cancel)
            barrier.wait()
            fail(database, claimed)
            canceling.result()
        assert row(database, claimed.id).state == JobState.CANCELED
    assert claim_next(database) == []
