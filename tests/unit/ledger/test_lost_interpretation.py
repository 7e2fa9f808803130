"""An interpretation that comes too late changes nothing, on PostgreSQL."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import select, text, update
from tests.processes import eventually
from tests.unit.ledger.test_ledger import TENANT, claim, submit

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job, Tenant, Usage
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Conditions, Interpretation
from limner_shared.domain.jobs import JobSpec


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_interpretation_whose_lease_is_lost_meanwhile_is_not_charged(database: Database, catalogue: Catalogue):
    job_id = submit(database, catalogue).changes[0].id
    [held] = claim(database, job_id, lease=-1)
    with database.write() as session:
        session.execute(update(Tenant).values(cost_per_day=10_000))
    made = Interpretation(conditions=Conditions(prompt="a green pear"), backend="rules")

    def interpret() -> bool:
        with database.write() as session:
            spec = JobSpec.model_validate(session.scalar(select(Job.spec)))
            return ledger.store_interpretation(session, job_id, held.attempt, made, spec, 5000)

    def waits() -> bool:
        with database.read() as session:
            return bool(session.scalar(text("SELECT count(*) FROM pg_locks WHERE NOT granted")))

    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            assert len(ledger.reap(session, 2)) == 1
            asked = pool.submit(interpret)
            eventually(waits)
        assert not asked.result(30)
    with database.read() as session:
        assert session.scalar(select(Usage.cost).where(Usage.tenant_id == TENANT)) is None
