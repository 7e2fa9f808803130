"""The catch-up of a stream of events reads no more than what has changed."""

from __future__ import annotations

import pytest
from bench.statements import recorded

from limner_shared.db import event_queries, ledger
from limner_shared.db.engine import Database


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_catch_up_does_not_read_all_jobs_that_a_tenant_has_ended(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_queries, "MAX_READ", -1)  # as after more events of others than are read
    with recorded(database) as statements, database.read() as session:
        event_queries.missed_events(session, ledger.LOCAL_TENANT, 0, None)
    [ended] = [each for each in statements.values() if "finished_at >=" in each.sql]
    with database.engine.connect() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {ended.sql}", tuple(ended.parameters)).all()
    assert [row.detail for row in plan] == [
        "SEARCH jobs USING INDEX ix_jobs_ended (tenant_id=? AND forgotten=? AND finished_at>?)"
    ]
