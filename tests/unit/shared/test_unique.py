"""Unique keys in the ledger, with both databases."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update

from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Bulk, Event, Image, Job, UniqueKey
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState, Priority
from limner_shared.domain.unique import Unique
from limner_shared.errors import GenerationFailed, StorageFailed, UniqueKeyLoading

TENANT = ledger.LOCAL_TENANT
IMAGE = ledger.NewImage("ab" * 32, "image/png", 256, 256, 1234, 7, {})


def new_job(catalogue: Catalogue, key: str = "k", model: str = "limner-flow", **more: Any) -> ledger.NewJob:
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1, model=model))
    unique = Unique(key=key, **{name: more.pop(name) for name in ("scope", "seconds") if name in more})
    return ledger.NewJob(spec, 1, Priority.NORMAL, unique=ledger.UniqueHold(unique), **more)


def submit(database: Database, *jobs: ledger.NewJob, tenant: str = TENANT, bulk_id: str | None = None) -> list[str]:
    """Submit those of these jobs whose keys are free; returns, for each, the job that holds its key."""
    with database.write() as session:
        ledger.ensure_tenant(session, tenant, tenant)
        holders = ledger.hold_unique_keys(session, tenant, jobs, bulk_id)
        new = [job for place, job in enumerate(jobs) if place not in holders]
        if new:
            ledger.submit(session, tenant, new, bulk_id=bulk_id)
        return [holders.get(place, id_of(job)) for place, job in enumerate(jobs)]


def id_of(job: ledger.NewJob) -> str:
    assert job.unique is not None
    return job.unique.job_id


def claim(database: Database, job_id: str) -> ledger.Claim:
    with database.write() as session:
        [claimed] = ledger.claim(session, [job_id], "me", 60)
        return claimed


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def end(database: Database, job_id: str, how: str) -> None:
    with database.write() as session:
        if how == "canceled":
            ledger.cancel(session, Job.id == job_id)
            return
        [claimed] = ledger.claim(session, [job_id], "me", 60)
        if how == "succeeded":
            ledger.finish(session, [ledger.Result(job_id, claimed.attempt, [IMAGE])])
        else:
            ledger.fail(session, ledger.Result(job_id, claimed.attempt, error=GenerationFailed()))


def test_a_key_is_held_until_its_job_ends(database: Database, catalogue: Catalogue):
    [first] = submit(database, new_job(catalogue))
    assert submit(database, new_job(catalogue)) == [first]
    claimed = claim(database, first)
    assert submit(database, new_job(catalogue)) == [first]
    with database.write() as session:
        ledger.hand_back(session, [claimed.key])
    assert submit(database, new_job(catalogue)) == [first]
    end(database, first, "succeeded")
    [second] = submit(database, new_job(catalogue))
    assert second != first
    assert submit(database, new_job(catalogue)) == [second]
    assert (count(database, Job), count(database, UniqueKey)) == (2, 1)


@pytest.mark.parametrize("how", ["failed", "canceled"])
def test_a_job_that_failed_or_was_canceled_frees_its_key_before_its_time(
    database: Database, catalogue: Catalogue, how: str
):
    [first] = submit(database, new_job(catalogue, seconds=3600))
    end(database, first, how)
    assert submit(database, new_job(catalogue)) != [first]


def test_a_job_that_waits_for_a_retry_holds_its_key(database: Database, catalogue: Catalogue):
    [first] = submit(database, new_job(catalogue, max_retries=1))
    claimed = claim(database, first)
    with database.write() as session:
        change = ledger.fail(session, ledger.Result(first, claimed.attempt, error=StorageFailed()))
    assert change is not None
    assert change.state is JobState.QUEUED
    assert submit(database, new_job(catalogue)) == [first]


def test_with_seconds_a_succeeded_job_holds_its_key_for_that_time(database: Database, catalogue: Catalogue):
    [first] = submit(database, new_job(catalogue, seconds=3600))
    end(database, first, "succeeded")
    assert submit(database, new_job(catalogue)) == [first]
    with database.write() as session:
        session.execute(update(UniqueKey).values(kept_until=now() - 1))
    [second] = submit(database, new_job(catalogue, seconds=60))
    assert second != first
    with database.read() as session:
        assert session.scalar(select(UniqueKey.kept_until - now())) == pytest.approx(60, abs=30)
    with database.write() as session:
        session.execute(update(UniqueKey).values(kept_until=now() - 1))
    assert submit(database, new_job(catalogue)) == [second]  # its time is over, but it has not ended


def test_keys_of_other_tenants_and_of_other_models_in_that_scope_are_separate(database: Database, catalogue: Catalogue):
    [first] = submit(database, new_job(catalogue))
    assert submit(database, new_job(catalogue, model="limner-gan")) == [first]
    assert submit(database, new_job(catalogue), tenant="tenant_other") != [first]
    [flow] = submit(database, new_job(catalogue, scope="model"))
    [gan] = submit(database, new_job(catalogue, scope="model", model="limner-gan"))
    assert len({first, flow, gan}) == 3
    assert submit(database, new_job(catalogue, scope="model")) == [flow]


def test_jobs_submitted_together_share_the_first_ones_key(database: Database, catalogue: Catalogue):
    [held] = submit(database, new_job(catalogue, "old"))
    jobs = [new_job(catalogue, key) for key in ("a", "old", "b", "a", "old")]
    assert submit(database, *jobs) == [id_of(jobs[0]), held, id_of(jobs[2]), id_of(jobs[0]), held]
    assert count(database, Job) == 3


@pytest.mark.parametrize("known", [0, 2, 4])
def test_concurrent_submissions_with_the_same_keys_make_one_job_for_each(
    database: Database, catalogue: Catalogue, known: int
):
    """`known` keys were held before, by jobs that have ended."""
    keys, callers = ["a", "b", "c", "d"], 6
    ended = submit(database, *[new_job(catalogue, key) for key in keys[:known]])
    for job_id in ended:
        end(database, job_id, "succeeded")
    together = Barrier(callers)

    def ask(seed: int) -> dict[str, str]:
        mine = random.Random(seed).sample(keys, len(keys))
        together.wait()
        return dict(zip(mine, submit(database, *[new_job(catalogue, key) for key in mine]), strict=True))

    with ThreadPoolExecutor(callers) as pool:
        answers = list(pool.map(ask, range(callers)))
    assert all(answer == answers[0] for answer in answers)
    assert count(database, Job) == len(ended) + len(keys)


def test_a_rolled_back_submission_holds_nothing(database: Database, catalogue: Catalogue):
    with database.write() as session:
        ledger.hold_unique_keys(session, TENANT, [new_job(catalogue)])
        session.rollback()
    job = new_job(catalogue)
    assert submit(database, job) == [id_of(job)]


def test_deleting_a_job_deletes_its_key(database: Database, catalogue: Catalogue):
    [first] = submit(database, new_job(catalogue, seconds=3600))
    end(database, first, "succeeded")
    with database.write() as session:
        for table, job_id in ((Event, Event.job_id), (Image, Image.job_id), (Job, Job.id)):
            session.execute(delete(table).where(job_id == first))
    assert count(database, UniqueKey) == 0
    assert submit(database, new_job(catalogue)) != [first]


# --- bulks ---


def open_bulk(database: Database) -> str:
    with database.write() as session:
        return ledger.open_bulk(session, TENANT)


def test_a_key_in_another_bulk_that_is_still_read_is_refused_for_now(database: Database, catalogue: Catalogue):
    bulk_id = open_bulk(database)
    [first] = submit(database, new_job(catalogue), bulk_id=bulk_id)
    with pytest.raises(UniqueKeyLoading):
        submit(database, new_job(catalogue))
    with pytest.raises(UniqueKeyLoading):
        submit(database, new_job(catalogue), bulk_id=open_bulk(database))
    assert submit(database, new_job(catalogue), bulk_id=bulk_id) == [first]  # the same bulk, another line
    with database.write() as session:
        assert ledger.seal_bulk(session, bulk_id, 1)
    assert submit(database, new_job(catalogue)) == [first]


@pytest.mark.parametrize("state", [BulkState.DROPPING, BulkState.CANCELING])
def test_a_bulk_that_is_dropped_or_canceled_frees_its_keys_at_once(
    database: Database, catalogue: Catalogue, state: Any
):
    bulk_id = open_bulk(database)
    [first] = submit(database, new_job(catalogue), bulk_id=bulk_id)
    with database.write() as session:
        session.execute(update(Bulk).where(Bulk.id == bulk_id).values(state=state))
    [second] = submit(database, new_job(catalogue))
    assert second != first
    with database.write() as session:
        ledger.sweep_bulk(session, bulk_id, 100)
    assert submit(database, new_job(catalogue)) == [second]  # the sweep deleted or ended the first one only
