"""Transactions that end jobs of the same bulks never wait for each other in a circle, on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Any

import pytest
from sqlalchemy import select, text, update
from tests.processes import eventually
from tests.unit.ledger.test_bulk_termination import lines

from limner_shared.db import ledger, queries
from limner_shared.db.engine import Database
from limner_shared.db.ledger import LOCAL_TENANT, Result, attempts, transitions
from limner_shared.db.tables import Bulk, Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobState
from limner_shared.errors import GenerationFailed

pytestmark = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def bulks(database: Database, catalogue: Catalogue) -> list[list[str]]:
    """The jobs of two bulks, two each, in the bulks' order. The first pair of jobs has this order too, the second has
    the reverse one.
    """
    with database.write() as session:
        ids = sorted(ledger.open_bulk(session, LOCAL_TENANT) for _ in range(2))
        for line, order in enumerate((ids, ids[::-1])):
            for bulk_id in order:
                ledger.submit(session, LOCAL_TENANT, lines(catalogue, [line]), bulk_id=bulk_id)
        for bulk_id in ids:
            assert ledger.seal_bulk(session, bulk_id, 2)
        jobs = select(Job.id).order_by(Job.bulk_line)
        return [list(session.scalars(jobs.where(Job.bulk_id == bulk_id))) for bulk_id in ids]


class Meeting:
    """Two threads wait for each other at a place, unless one cannot reach it because a lock holds it up."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = Lock()
        self._arrived = 0

    def before(self, act: Callable[..., Any]) -> Callable[..., Any]:
        """`act`, which is called once both threads are here, or the other one waits for a lock."""

        def wait(*args: Any, **kwargs: Any) -> Any:
            with self._lock:
                self._arrived += 1
            eventually(lambda: self._arrived > 1 or self._other_waits())
            return act(*args, **kwargs)

        return wait

    def _other_waits(self) -> bool:
        with self._database.read() as session:
            return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))


def counts(database: Database) -> list[dict[JobState, int]]:
    with database.read() as session:
        return [queries.bulk_counts(session, bulk) for bulk in session.scalars(select(Bulk).order_by(Bulk.id))]


def test_two_workers_whose_jobs_of_two_bulks_partly_fail_do_not_deadlock(
    database: Database, bulks: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    with database.write() as session:
        ledger.claim(session, [*bulks[0], *bulks[1]], "a worker", 60)
    monkeypatch.setattr(attempts, "fail", Meeting(database).before(attempts.fail))

    def work(place: int) -> int:
        succeeded, failed = Result(bulks[place][0], 1), Result(bulks[1 - place][1], 1, error=GenerationFailed())
        with database.write() as session:
            return len(ledger.settle(session, [succeeded, failed]))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, range(2))) == [2, 2]
    assert [(count[JobState.SUCCEEDED], count[JobState.FAILED]) for count in counts(database)] == [(1, 1)] * 2


def test_two_workers_that_claim_unreadable_jobs_of_two_bulks_do_not_deadlock(
    database: Database, bulks: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    with database.write() as session:
        session.execute(update(Job).values(spec={"version": 1, "steps": "many"}))
    fail, begun, meeting = attempts._fail_unreadable, set[Any](), Meeting(database)
    second = meeting.before(fail)

    def fail_one(session: Any, *args: Any) -> None:
        (second if session in begun else fail)(session, *args)
        begun.add(session)

    monkeypatch.setattr(attempts, "_fail_unreadable", fail_one)

    def work(line: int) -> int:
        with database.write() as session:
            return len(ledger.claim(session, [jobs[line] for jobs in bulks], "a worker", 60))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, range(2))) == [0, 0]
    assert [count[JobState.FAILED] for count in counts(database)] == [2, 2]


def test_two_workers_that_finish_jobs_of_two_bulks_in_opposite_orders_do_not_deadlock(
    database: Database, bulks: list[list[str]], monkeypatch: pytest.MonkeyPatch
):
    with database.write() as session:
        for job_id in (bulks[0][0], bulks[1][0], bulks[1][1], bulks[0][1]):  # the order in which rows are updated
            ledger.claim(session, [job_id], "a worker", 60)
    count_end, begun, meeting = transitions.bulk_completed, set[Any](), Meeting(database)
    second = meeting.before(count_end)

    def count_one(session: Any, *args: Any) -> Any:
        counted = (second if session in begun else count_end)(session, *args)
        begun.add(session)
        return counted

    monkeypatch.setattr(transitions, "bulk_completed", count_one)

    def work(line: int) -> int:
        with database.write() as session:
            return len(ledger.finish(session, [Result(jobs[line], 1) for jobs in bulks]))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, range(2))) == [2, 2]
    assert [count[JobState.SUCCEEDED] for count in counts(database)] == [2, 2]
