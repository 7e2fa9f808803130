"""A tenant's limit on queued jobs holds for requests that arrive together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text, update

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import LOCAL_TENANT, NewJob
from limner_shared.db.tables import Bulk, Job, Tenant
from limner_shared.domain.jobs import JobRequest, Priority
from limner_web.intake import bulk_submission
from tests.api.clients import ApiClient, App
from tests.api.test_bulk_control import ConcurrentBody, stream_to
from tests.api.test_bulks import JSONL, both_databases, lines, rows
from tests.api.test_limits import JOB, assert_refused
from tests.processes import eventually


@pytest.fixture
def limit(database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the tenant's limit. Bulks are stored in chunks of two jobs."""
    monkeypatch.setattr(bulk_submission, "CHUNK", 2)

    def set_limit(max_queued: int) -> None:
        with database.write() as session:
            session.execute(update(Tenant).values(max_queued=max_queued))

    return set_limit


def post(client: ApiClient, count: int) -> Any:
    return client.post("/api/v1/bulks", data=lines(*[JOB] * count), content_type=JSONL)


def parts(client: ApiClient, answers: list[Any], count: int) -> Iterator[bytes]:
    """A bulk of six lines; when two of its jobs are stored, another bulk of `count` lines is sent."""
    yield lines(*[JOB] * 3)
    answers.append(post(client, count))
    yield lines(*[JOB] * 3)


@both_databases
def test_bulks_that_are_read_at_the_same_time_do_not_exceed_the_limit_together(app: App, limit: Callable[[int], None]):
    limit(6)
    answers: list[Any] = []
    first = stream_to(app.test_client(), ConcurrentBody(parts(app.test_client(), answers, 4)), len(lines(*[JOB] * 6)))
    assert answers[0].status_code == 202
    assert_refused(first, "max_queued")
    assert (rows(app, Job), rows(app, Bulk)) == (4, 1)


@both_databases
def test_a_bulk_beside_which_others_have_room_is_accepted(app: App, limit: Callable[[int], None]):
    limit(10)
    answers: list[Any] = []
    first = stream_to(app.test_client(), ConcurrentBody(parts(app.test_client(), answers, 4)), len(lines(*[JOB] * 6)))
    assert (answers[0].status_code, first.status_code) == (202, 202)
    assert_refused(app.test_client().post("/api/v1/jobs", json=JOB), "max_queued")


def test_a_bulk_that_is_still_read_does_not_count_when_another_one_is_complete(app: App, database: Database):
    card, spec = app.extensions["limner"].catalogue.resolve(JobRequest(prompt="x"))
    jobs = [NewJob(spec, card.cost(spec), Priority.LOW, bulk_line=line) for line in range(2)]
    with database.write() as session:
        session.execute(update(Tenant).values(max_queued=2))
        complete, loading = (ledger.open_bulk(session, LOCAL_TENANT) for _ in range(2))
        for bulk_id in (complete, loading):
            ledger.submit(session, LOCAL_TENANT, jobs, bulk_id=bulk_id)
        assert ledger.seal_bulk(session, complete, 2)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_job_waits_for_another_one_that_may_take_the_last_place(
    app: App, database: Database, limit: Callable[[int], None]
):
    limit(1)
    card, spec = app.extensions["limner"].catalogue.resolve(JobRequest(prompt="x"))
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'")

    def waiting() -> int:
        with database.read() as session:
            return session.scalar(waits)

    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            ledger.reserve_quota(session, LOCAL_TENANT, 1, 1)
            ledger.submit(session, LOCAL_TENANT, [NewJob(spec, card.cost(spec), Priority.NORMAL)])
            session.flush()
            asked = pool.submit(app.test_client().post, "/api/v1/jobs", json=JOB)
            eventually(lambda: asked.done() or waiting())
        assert_refused(asked.result(30), "max_queued")
    assert rows(app, Job) == 1
