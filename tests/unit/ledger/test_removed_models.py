"""Jobs of models that are no longer served, with both databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import update
from tests.dispatchers import MINUTE, MODEL, _long_timeouts, job, make_dispatcher, submit

from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import Lane

__all__ = ["_long_timeouts", "make_dispatcher"]


def released(database: Database, catalogue: Catalogue, seconds_ago: float) -> str:
    """A job of a removed model, submitted long ago and released `seconds_ago`; returns its id."""
    [job_id] = submit(database, catalogue)
    with database.write() as session:
        session.execute(update(Job).values(model="gone", created_at=now() - 10 * MINUTE))
        ledger.release(session, Lane.LOW, [job_id])
        session.execute(update(Job).values(released_at=now() - seconds_ago))
    return job_id


def test_a_released_job_of_a_removed_model_fails(
    database: Database, catalogue: Catalogue, make_dispatcher: Callable[..., Any]
):
    job_id = released(database, catalogue, 2 * MINUTE)
    make_dispatcher().repair()
    failed = job(database, job_id)
    assert (failed.state, failed.error_code) == ("failed", "model_unavailable")


def test_a_job_released_a_moment_ago_is_left_to_the_workers_that_still_serve_its_model(
    database: Database, catalogue: Catalogue, make_dispatcher: Callable[..., Any]
):
    job_id = released(database, catalogue, MINUTE / 2)
    make_dispatcher().repair()
    assert job(database, job_id).state == "queued"


def test_waiting_and_released_jobs_of_a_removed_model_fail_together(database: Database, catalogue: Catalogue):
    released(database, catalogue, 2 * MINUTE)
    submit(database, catalogue)
    with database.write() as session:
        session.execute(update(Job).values(model="gone", created_at=now() - 2 * MINUTE))
    served = submit(database, catalogue)
    with database.write() as session:
        failed = ledger.fail_unknown(session, [MODEL], MINUTE, 10)
    assert len(failed) == 2
    assert job(database, served[0]).state == "queued"
