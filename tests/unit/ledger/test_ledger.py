"""The ledger, with both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select, update

from limner_shared.db import ledger, queries, release_queries, waiting_queries
from limner_shared.db.engine import Database, now
from limner_shared.db.search import JobFilter, find_jobs
from limner_shared.db.tables import Bulk, Event, Job, Tenant
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import SPEC_VERSION, JobRequest, JobState, Lane, Priority
from limner_shared.errors import GenerationFailed, NotFound

TENANT = ledger.LOCAL_TENANT
IMAGE = ledger.NewImage("ab" * 32, "image/png", 256, 256, 1234, 2**32 - 1, {"steps": 24})


def submit(
    database: Database, catalogue: Catalogue, count: int = 1, window: int = 0, **request: Any
) -> ledger.Submission:
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


def test_a_finished_job_has_succeeded_and_has_its_images(database: Database, catalogue: Catalogue):
    job_id = submit(database, catalogue).changes[0].id
    [claimed] = claim(database, job_id)
    with database.write() as session:
        [change] = ledger.finish(session, [ledger.Result(job_id, claimed.attempt, [IMAGE, IMAGE])])
    assert change.state is JobState.SUCCEEDED
    with database.read() as session:
        job = queries.job(session, TENANT, job_id)
        assert job.created_at <= job.started_at <= job.finished_at
        assert [image.seed for image in queries.images(session, [job_id])[job_id]] == [2**32 - 1] * 2


def test_a_job_with_repeated_messages_is_claimed_once(database: Database, catalogue: Catalogue):
    job_id = submit(database, catalogue).changes[0].id
    assert len(claim(database, job_id, job_id)) == 1
    assert claim(database, job_id, owner="another") == []


def test_a_late_result_of_an_earlier_attempt_changes_nothing(database: Database, catalogue: Catalogue):
    job_id = submit(database, catalogue).changes[0].id
    [zombie] = claim(database, job_id, lease=-1)
    with database.write() as session:
        assert [change.state for change in ledger.reap(session, 2)] == [JobState.QUEUED]
    [second] = claim(database, job_id)
    with database.write() as session:
        assert ledger.finish(session, [ledger.Result(job_id, zombie.attempt, [IMAGE])]) == []
        assert ledger.fail(session, ledger.Result(job_id, zombie.attempt, error=GenerationFailed())) is None
        assert len(ledger.finish(session, [ledger.Result(job_id, second.attempt, [IMAGE])])) == 1


def test_results_are_stored_together_for_current_attempts_only(database: Database, catalogue: Catalogue):
    ids = [change.id for change in submit(database, catalogue, 3).changes]
    claims = {one.id: one for one in claim(database, *ids)}
    results = [ledger.Result(job_id, claims[job_id].attempt, [IMAGE]) for job_id in ids]
    results[1] = ledger.Result(ids[1], 7, [IMAGE])
    with database.write() as session:
        assert {change.id for change in ledger.finish(session, results)} == {ids[0], ids[2]}
    with database.read() as session:
        assert {job_id: len(found) for job_id, found in queries.images(session, ids).items()} == {
            ids[0]: 1,
            ids[1]: 0,
            ids[2]: 1,
        }


def test_a_job_becomes_a_dead_letter_after_solo_losses_and_can_be_retried_once(
    database: Database, catalogue: Catalogue
):
    job_id = submit(database, catalogue).changes[0].id
    for lost in range(1, 5):
        claim(database, job_id, lease=-1)
        with database.write() as session:
            [change] = ledger.reap(session, max_solo_losses=2)
        assert change.state is (JobState.FAILED if lost == 4 else JobState.QUEUED)
    with database.write() as session:
        job = queries.job(session, TENANT, job_id)
        assert (job.error_code, job.error_retryable, job.losses) == ("worker_lost", True, 4)
        assert [row.id for row in find_jobs(session, TENANT, JobFilter(dead=True), 9, None).jobs] == [job_id]
        [again] = ledger.retry_dead(session, TENANT, None, 10)
        assert ledger.retry_dead(session, TENANT, [job_id], 10) == []
        new = queries.job(session, TENANT, again.id)
        assert (new.state, new.retry_of, new.losses, new.spec) == ("queued", job_id, 0, job.spec)


def test_a_dead_letter_whose_description_was_understood_is_not_interpreted_again(
    database: Database, catalogue: Catalogue
):
    job_id = submit(database, catalogue).changes[0].id
    with database.write() as session:
        understood = {"interpretation": {"backend": "rules"}, "losses": 4}
        session.execute(update(Job).where(Job.id == job_id).values(understood))
    claim(database, job_id, lease=-1)
    with database.write() as session:
        ledger.reap(session, max_solo_losses=2)
        [again] = ledger.retry_dead(session, TENANT, [job_id], 10)
        assert queries.job(session, TENANT, again.id).interpretation == {"backend": "rules"}


def test_handing_back_a_job_is_not_a_loss(database: Database, catalogue: Catalogue):
    job_id = submit(database, catalogue).changes[0].id
    for _ in range(5):
        [held] = claim(database, job_id)
        with database.write() as session:
            assert len(ledger.hand_back(session, [held.key])) == 1
    with database.read() as session:
        assert queries.job(session, TENANT, job_id).losses == 0


def test_a_valid_lease_is_not_reaped_and_only_its_attempt_can_renew_it(database: Database, catalogue: Catalogue):
    job_id = submit(database, catalogue).changes[0].id
    [first] = claim(database, job_id)
    with database.write() as session:
        assert ledger.reap(session, 2) == []
        assert ledger.renew(session, [first.key], 60) == {first.key}
        ledger.hand_back(session, [first.key])
    [second] = claim(database, job_id)  # by the same worker
    with database.write() as session:
        assert ledger.renew(session, [first.key, second.key], 60) == {second.key}
        assert ledger.hand_back(session, [first.key]) == []


def test_a_forfeited_lease_is_reaped_at_once_and_counts_as_a_loss(database: Database, catalogue: Catalogue):
    job_id = submit(database, catalogue).changes[0].id
    [held] = claim(database, job_id)
    with database.write() as session:
        ledger.forfeit(session, [held.key])
    with database.write() as session:
        assert [change.state for change in ledger.reap(session, 2)] == ["queued"]
    with database.read() as session:
        assert queries.job(session, TENANT, job_id).losses == 1


def test_a_lease_is_over_in_the_millisecond_in_which_it_ends(database: Database, catalogue: Catalogue):
    # SQLite's clock counts milliseconds: most of these are reaped in the one in which their leases end.
    ids = [change.id for change in submit(database, catalogue, count=40).changes]
    claims = claim(database, *ids, lease=60)
    with database.write() as session:
        for held in claims:
            ledger.forfeit(session, [held.key])
            assert [change.id for change in ledger.reap(session, 2)] == [held.id]


@pytest.mark.parametrize("damaged", [5, [5], {"a": 1}, "text"])
def test_a_job_of_a_tenant_with_damaged_terms_fails_and_the_others_are_claimed(
    database: Database, catalogue: Catalogue, damaged: Any
):
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_damaged", "damaged")
        session.get_one(Tenant, "tenant_damaged").blocked_terms = damaged
        _, spec = catalogue.resolve(JobRequest(prompt="a red apple"))
        new = ledger.NewJob(spec, 1, Priority.NORMAL)
        bad, good = (ledger.submit(session, name, [new]).changes[0].id for name in ("tenant_damaged", TENANT))
    with database.write() as session:
        assert [claim.id for claim in ledger.claim(session, [bad, good], "a worker", 60)] == [good]
    with database.read() as session:
        assert session.get_one(Job, bad).error_code == "unreadable_job"


def test_a_job_with_an_unreadable_spec_fails_and_the_others_are_claimed(database: Database, catalogue: Catalogue):
    bad, good, newer = (submit(database, catalogue).changes[0].id for _ in range(3))
    with database.write() as session:
        session.get(Job, bad).spec = {"version": 1, "prompt": "a secret", "steps": "many"}
        session.get(Job, newer).spec = session.get(Job, newer).spec | {"version": SPEC_VERSION + 1}
    with database.write() as session:
        claims = ledger.claim(session, [bad, good, newer], "me", 60)
    assert [claim.id for claim in claims] == [good]
    with database.read() as session:
        job = queries.job(session, TENANT, bad)
        assert (job.state, job.error_code, job.lease_until) == ("failed", "unreadable_job", None)
        [detail] = session.scalars(select(Event.detail).where(Event.job_id == bad, Event.kind == "failed"))
        assert "steps" in detail["unreadable"]
        assert "secret" not in str(detail)
        assert queries.job(session, TENANT, newer).state == "queued", "not left to a worker of the newer version"


@pytest.mark.parametrize("running", [False, True])
def test_a_job_can_be_canceled_only_before_it_ends(database: Database, catalogue: Catalogue, running: bool):
    job_id = submit(database, catalogue).changes[0].id
    attempt = claim(database, job_id)[0].attempt if running else 1
    with database.write() as session:
        assert len(ledger.cancel(session, Job.id == job_id)) == 1
        assert ledger.finish(session, [ledger.Result(job_id, attempt, [IMAGE])]) == []
        assert ledger.cancel(session, Job.id == job_id) == []
    assert state(database, job_id) == "canceled"


def test_waiting_queues_are_listed_and_read_in_order(database: Database, catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    with database.write() as session:
        for tenant in ("tenant_a", "tenant_b"):
            ledger.ensure_tenant(session, tenant, tenant)
            ledger.submit(session, tenant, [ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)] * 3)
        assert release_queries.waiting_tenants(session, "limner-flow", Priority.NORMAL.rank) == ["tenant_a", "tenant_b"]
        [line] = release_queries.waiting_queues(session, "limner-flow", 1, "tenant_a", "", 9)
        assert (line.queue_key, line.open) == ("tenant_a", True)
        jobs = release_queries.waiting_jobs(session, "limner-flow", 1, "tenant_a", "tenant_a", "", 2)
        assert jobs[0] == line.head
        assert len(jobs) == 2
        [last] = release_queries.waiting_jobs(session, "limner-flow", 1, "tenant_a", "tenant_a", jobs[-1].id, 2)
        assert last.id > jobs[-1].id
        assert release_queries.waiting_tenants(session, "limner-flow", Priority.LOW.rank) == []


def test_jobs_lost_by_redis_are_released_again(database: Database, catalogue: Catalogue):
    released = submit(database, catalogue, 2, window=9).released
    with database.write() as session:
        assert ledger.release_again(session, "limner-flow", Lane.NORMAL, now() - 60) == []
        again = ledger.release_again(session, "limner-flow", Lane.NORMAL, now() + 1)
        assert [job.id for job in again] == [job.id for job in released]
        assert ledger.release_again(session, "limner-flow", Lane.LOW, now() + 1) == []


def test_only_sealed_and_running_bulks_are_open_and_a_dropped_one_is_deleted(database: Database, catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    jobs = [ledger.NewJob(spec, card.cost(spec), Priority.LOW, bulk_line=line) for line in (1, 2)]

    def flows(session: Any) -> list[str]:
        lines = release_queries.waiting_queues(session, "limner-flow", Priority.LOW.rank, TENANT, "", 9)
        return [line.queue_key for line in lines if line.open]

    with database.write() as session:
        kept, dropped = ledger.open_bulk(session, TENANT), ledger.open_bulk(session, TENANT)
        for bulk_id in (kept, dropped):
            ledger.submit(session, TENANT, jobs, bulk_id=bulk_id)
        assert flows(session) == []
        assert ledger.seal_bulk(session, kept, 2)
        assert ledger.drop_bulk(session, dropped)
        assert not ledger.seal_bulk(session, dropped, 2)
        assert not ledger.touch_bulk(session, dropped)
        assert flows(session) == [kept]
        assert ledger.pause_bulk(session, kept, paused=True)
        assert flows(session) == []
        assert ledger.pause_bulk(session, kept, paused=False)
        assert flows(session) == [kept]
        assert queries.bulk_counts(session, queries.bulk(session, TENANT, kept))[JobState.QUEUED] == 2
        with pytest.raises(NotFound):
            queries.bulk(session, TENANT, dropped)
        for _ in range(2):
            ledger.sweep_bulk(session, dropped, 1)
        assert session.get(Bulk, dropped) is None
        assert queries.bulk_jobs(session, dropped, 0, 9) == []


def test_canceling_a_bulk_is_immediate_and_sweeps_cancel_its_jobs(database: Database, catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    jobs = [ledger.NewJob(spec, card.cost(spec), Priority.LOW, bulk_line=line) for line in range(5)]
    with database.write() as session:
        bulk_id = ledger.open_bulk(session, TENANT)
        ledger.submit(session, TENANT, jobs, bulk_id=bulk_id)
        ledger.seal_bulk(session, bulk_id, 5)
        ledger.cancel_bulk(session, bulk_id)
        [line] = release_queries.waiting_queues(session, "limner-flow", Priority.LOW.rank, TENANT, "", 9)
        assert not line.open
        assert [len(ledger.sweep_bulk(session, bulk_id, 2)) for _ in range(4)] == [2, 2, 1, 0]
        session.expire_all()
        bulk = queries.bulk(session, TENANT, bulk_id)
        assert (bulk.state, queries.bulk_counts(session, bulk)[JobState.CANCELED]) == ("canceled", 5)


@pytest.mark.parametrize("running", [False, True])
def test_a_job_past_its_deadline_fails_with_deadline_exceeded(database: Database, catalogue: Catalogue, running: bool):
    _, spec = catalogue.resolve(JobRequest(prompt="x"))
    late, wanted = (ledger.NewJob(spec, 1, Priority.NORMAL, expires_in=seconds) for seconds in (-1, 60))
    with database.write() as session:
        ids = [change.id for change in ledger.submit(session, TENANT, [late, wanted]).changes]
    if running:
        claim(database, *ids)
    with database.write() as session:
        assert [change.id for change in ledger.expire(session, 10)] == ids[:1]
        assert queries.job(session, TENANT, ids[0]).error_code == "deadline_exceeded"


def test_one_owner_leads_until_its_leadership_expires(database: Database):
    def lead(owner: str, seconds: float = 60) -> bool:
        with database.write() as session:
            return ledger.acquire_leadership(session, "dispatch", owner, seconds)

    assert [lead("a"), lead("b"), lead("a", -1)] == [True, False, True]
    assert [lead("b"), lead("a")] == [True, False]


def test_claim_next_takes_released_jobs_first_and_no_job_that_must_run_alone(database: Database, catalogue: Catalogue):
    first = submit(database, catalogue, 1, window=9).changes[0].id
    waiting = [change.id for change in submit(database, catalogue, 3).changes]
    for _ in range(2):
        claim(database, waiting[0], lease=-1)
        with database.write() as session:
            ledger.reap(session, 2)
    with database.write() as session:
        claims = ledger.claim_next(session, ["limner-flow"], 2, "me", 60)
        assert {one.id for one in claims} == {first, waiting[1]}
        assert [one.id for one in ledger.claim_next(session, ["limner-flow"], 5, "me", 60)] == [waiting[2]]


def test_an_old_message_claims_no_job_that_must_run_alone(database: Database, catalogue: Catalogue):
    suspect, other = [change.id for change in submit(database, catalogue, 2).changes]
    for _ in range(2):
        claim(database, suspect, lease=-1)
        with database.write() as session:
            ledger.reap(session, 2)
    with database.write() as session:
        claims = ledger.claim(session, [suspect, other], "me", 60, together=True)
        assert [one.id for one in claims] == [other]
        assert [one.id for one in ledger.claim(session, [suspect], "me", 60)] == [suspect]


def test_the_position_counts_the_jobs_ahead(database: Database, catalogue: Catalogue):
    ids = [change.id for change in submit(database, catalogue, 3).changes]
    with database.read() as session:
        assert [waiting_queries.position(session, queries.job(session, TENANT, job_id)) for job_id in ids] == [0, 1, 2]


def test_the_position_counts_released_jobs_and_not_other_queues(database: Database, catalogue: Catalogue):
    ids = [change.id for change in submit(database, catalogue, 3).changes]
    with database.write() as session:
        session.execute(update(Job).where(Job.id == ids[0]).values(queue_key="another"))
        session.execute(update(Job).where(Job.id == ids[1]).values(released_at=now(), lane=Lane.NORMAL))
    with database.read() as session:
        assert [waiting_queries.position(session, queries.job(session, TENANT, job_id)) for job_id in ids] == [1, 0, 1]


def test_another_tenants_job_is_not_found(database: Database, catalogue: Catalogue):
    job_id = submit(database, catalogue).changes[0].id
    with database.read() as session, pytest.raises(NotFound):
        queries.job(session, "tenant_other", job_id)
