"""Which jobs a web process releases at once, and into which lane."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import update
from tests.unit.ledger.test_ledger import TENANT, submit

from limner_shared.db import ledger, release_queries
from limner_shared.db.engine import Database
from limner_shared.db.tables import Tenant
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane, Priority


def lanes(submission: ledger.Submission) -> list[Lane]:
    return [job.lane for job in submission.released]


def test_a_small_job_of_a_tenant_without_active_jobs_enters_the_first_lane(database: Database, catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    with database.write() as session:
        small = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL, small=True)
        assert lanes(ledger.submit(session, TENANT, [small], window=9)) == [Lane.FIRST]
        assert lanes(ledger.submit(session, TENANT, [small], window=9)) == [Lane.NORMAL]
        ledger.ensure_tenant(session, "tenant_other", "other")
        low = ledger.NewJob(spec, card.cost(spec), Priority.LOW, small=True)
        assert lanes(ledger.submit(session, "tenant_other", [low], window=9)) == [Lane.LOW]
        large = ledger.NewJob(spec, card.cost(spec), Priority.HIGH, small=False)
        assert lanes(ledger.submit(session, "tenant_other", [large], window=9)) == [Lane.HIGH]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_of_a_burst_that_arrives_at_once_one_job_enters_the_first_lane(database: Database, catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    small = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL, small=True)
    all_have_read = threading.Barrier(8)

    def submit_one(_: int) -> list[Lane]:
        with database.write() as session:
            intake_state = ledger.read_intake_state(session, TENANT, spec.model, Priority.NORMAL)
            all_have_read.wait(30)
            return lanes(ledger.submit(session, TENANT, [small], window=64, intake_state=intake_state))

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(submit_one, range(8))) == [[Lane.FIRST], *[[Lane.NORMAL]] * 7]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_estimate_takes_no_place_in_the_first_lane(database: Database, catalogue: Catalogue):
    card, spec = catalogue.resolve(JobRequest(prompt="x"))
    small = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL, small=True)
    with database.read() as estimating:
        ledger.read_intake_state(estimating, TENANT, spec.model, Priority.NORMAL, is_estimate=True)
        with database.write() as session:
            assert lanes(ledger.submit(session, TENANT, [small], window=64)) == [Lane.FIRST]


def test_the_dispatcher_releases_the_jobs_of_a_tenant_with_a_limit_on_running_jobs(
    database: Database, catalogue: Catalogue
):
    with database.write() as session:
        session.execute(update(Tenant).values(max_running=1))
        for model in ("limner-flow", "limner-gan"):
            card, spec = catalogue.resolve(JobRequest(prompt="x", model=model))
            small = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL, small=True)
            assert lanes(ledger.submit(session, TENANT, [small], window=9)) == []


def test_jobs_are_released_at_once_only_if_none_wait_and_the_window_has_room(database: Database, catalogue: Catalogue):
    assert lanes(submit(database, catalogue, 3, window=4)) == [Lane.NORMAL] * 3
    waiting = submit(database, catalogue, 2, window=4)
    assert waiting.released == []
    assert submit(database, catalogue, 1, window=9).released == []
    ids = [change.id for change in waiting.changes]
    with database.write() as session:
        assert [job.id for job in ledger.release(session, Lane.NORMAL, [ids[1], "unknown", ids[0]])] == [ids[1], ids[0]]
        assert ledger.release(session, Lane.NORMAL, ids) == []
        assert release_queries.unclaimed_jobs(session, "limner-flow") == {Lane.NORMAL: 5}
