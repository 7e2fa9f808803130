"""The ledger, on both databases."""

from __future__ import annotations

import pytest

from limner_shared import ledger, queries
from limner_shared.cards import Catalogue
from limner_shared.database import Database
from limner_shared.errors import GenerationFailed, NotFound
from limner_shared.jobs import JobRequest, JobState, Priority
from limner_shared.tables import Job

TENANT = ledger.LOCAL_TENANT
IMAGE = ledger.NewImage("ab" * 32, "image/png", 256, 256, 1234, 2**32 - 1, {"steps": 24})


def submit(database: Database, catalogue: Catalogue, count: int = 1, window: int = 0, **request) -> ledger.Submission:
    card, spec = catalogue.resolve(JobRequest(prompt="a red apple", **request))
    jobs = [ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)] * count
    with database.write() as session:
        return ledger.submit(session, TENANT, jobs, window=window)


def claim(database: Database, *ids: str, owner: str = "me", lease: float = 60) -> list[ledger.Claim]:
    with database.write() as session:
        return ledger.claim(session, ids, owner, lease)


def state(database: Database, job_id: str) -> str:
    with database.read() as session:
        return queries.job(session, TENANT, job_id).state


def test_a_job_goes_from_submit_to_succeeded_with_its_images(database, catalogue):
    job_id = submit(database, catalogue).changes[0].id
    [claimed] = claim(database, job_id)
    with database.write() as session:
        change = ledger.finish(session, job_id, claimed.attempt, [IMAGE, IMAGE])
    assert change is not None
    assert change.state is JobState.SUCCEEDED
    with database.read() as session:
        job = queries.job(session, TENANT, job_id)
        assert job.created_at <= job.started_at <= job.finished_at
        assert [image.seed for image in queries.images(session, [job_id])[job_id]] == [2**32 - 1] * 2


def test_a_job_is_claimed_once_however_often_its_message_comes(database, catalogue):
    job_id = submit(database, catalogue).changes[0].id
    assert len(claim(database, job_id, job_id)) == 1
    assert claim(database, job_id, owner="another") == []


def test_a_late_result_of_an_earlier_attempt_changes_nothing(database, catalogue):
    job_id = submit(database, catalogue).changes[0].id
    [zombie] = claim(database, job_id, lease=-1)
    with database.write() as session:
        assert [change.state for change in ledger.reap(session, max_attempts=3)] == [JobState.QUEUED]
    [second] = claim(database, job_id)
    with database.write() as session:
        assert ledger.finish(session, job_id, zombie.attempt, [IMAGE]) is None
        assert ledger.fail(session, job_id, zombie.attempt, GenerationFailed()) is None
        assert ledger.finish(session, job_id, second.attempt, [IMAGE]) is not None


def test_a_job_that_loses_too_many_workers_fails_and_says_why(database, catalogue):
    job_id = submit(database, catalogue).changes[0].id
    for _ in range(3):
        claim(database, job_id, lease=-1)
        with database.write() as session:
            ledger.reap(session, max_attempts=3)
    with database.read() as session:
        job = queries.job(session, TENANT, job_id)
        assert (job.state, job.error_code, job.error_retryable) == ("failed", "worker_lost", True)


def test_a_job_handed_back_by_a_stopping_worker_is_not_a_loss(database, catalogue):
    job_id = submit(database, catalogue).changes[0].id
    for _ in range(5):
        assert len(claim(database, job_id)) == 1
        with database.write() as session:
            assert len(ledger.hand_back(session, "me", [job_id])) == 1
    with database.read() as session:
        assert queries.job(session, TENANT, job_id).losses == 0


def test_a_live_lease_is_not_reaped_and_can_be_renewed_by_its_owner_alone(database, catalogue):
    job_id = submit(database, catalogue).changes[0].id
    claim(database, job_id)
    with database.write() as session:
        assert ledger.reap(session, 3) == []
        assert ledger.renew(session, "me", [job_id], 60) == {job_id}
        assert ledger.renew(session, "you", [job_id], 60) == set()


@pytest.mark.parametrize("running", [False, True])
def test_a_job_is_canceled_before_its_end_and_never_after(database, catalogue, running):
    job_id = submit(database, catalogue).changes[0].id
    attempt = claim(database, job_id)[0].attempt if running else 1
    with database.write() as session:
        assert len(ledger.cancel(session, Job.id == job_id)) == 1
        assert ledger.finish(session, job_id, attempt, [IMAGE]) is None
        assert ledger.cancel(session, Job.id == job_id) == []
    assert state(database, job_id) == "canceled"


def test_jobs_are_released_at_once_while_the_window_has_room(database, catalogue):
    assert len(submit(database, catalogue, 3, window=4).released) == 3
    assert submit(database, catalogue, 2, window=4).released == []
    with database.write() as session:
        assert len(ledger.release(session, "limner-flow", 4)) == 1
        assert ledger.release(session, "limner-flow", 4) == []


def test_higher_priority_is_released_first_and_then_the_older(database, catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    order = [Priority.LOW, Priority.NORMAL, Priority.HIGH, Priority.NORMAL]
    with database.write() as session:
        ids = [
            ledger.submit(session, TENANT, [ledger.NewJob(spec, card.cost(spec), priority)]).changes[0].id
            for priority in order
        ]
        assert [job.id for job in ledger.release(session, "limner-flow", 10)] == [ids[2], ids[1], ids[3], ids[0]]


def test_a_backlog_of_low_priority_never_keeps_a_higher_one_out(database, catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    low = [ledger.NewJob(spec, card.cost(spec), Priority.LOW)] * 5
    with database.write() as session:
        ledger.submit(session, TENANT, low)
        assert len(ledger.release(session, "limner-flow", 3)) == 3
        assert len(ledger.submit(session, TENANT, [ledger.NewJob(spec, 1, Priority.NORMAL)], window=3).released) == 1


def test_what_redis_forgot_is_released_again(database, catalogue):
    released = submit(database, catalogue, 2, window=9).released
    with database.write() as session:
        assert ledger.release_again(session, "limner-flow", 60) == []
        assert ledger.release_again(session, "limner-flow", -1) == released


def test_a_bulk_waits_until_it_is_sealed_and_leaves_nothing_when_dropped(database, catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    jobs = [ledger.NewJob(spec, card.cost(spec), Priority.LOW, bulk_line=line) for line in (1, 2)]
    with database.write() as session:
        kept, dropped = ledger.open_bulk(session, TENANT), ledger.open_bulk(session, TENANT)
        for bulk_id in (kept, dropped):
            ledger.submit(session, TENANT, jobs, bulk_id=bulk_id)
        assert ledger.release(session, "limner-flow", 9) == []
        ledger.seal_bulk(session, kept, 2)
        ledger.drop_bulk(session, dropped)
        ledger.drop_bulk(session, kept)
        assert len(ledger.release(session, "limner-flow", 9)) == 2
        assert queries.bulk_counts(session, kept)[JobState.QUEUED] == 2
        with pytest.raises(NotFound):
            queries.bulk(session, TENANT, dropped)


def test_the_position_counts_the_jobs_ahead(database, catalogue):
    ids = [change.id for change in submit(database, catalogue, 3).changes]
    with database.read() as session:
        assert [queries.position(session, queries.job(session, TENANT, job_id)) for job_id in ids] == [0, 1, 2]


def test_another_tenants_job_is_as_unknown_as_none(database, catalogue):
    job_id = submit(database, catalogue).changes[0].id
    with database.read() as session, pytest.raises(NotFound):
        queries.job(session, "tenant_other", job_id)
