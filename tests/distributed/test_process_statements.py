"""What a real worker and a real dispatcher ask the database is served by indexes, whatever code asks it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from bench.statements import fill, scans
from sqlalchemy import update

from limner_shared.db.ledger import cancel
from limner_shared.db.tables import Job, Tenant
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState
from tests.distributed.null_services import CARD, null_service, redis_server, sqlite
from tests.distributed.statement_recorder import VARIABLE, read_statements
from tests.processes import Service, eventually

__all__ = ["null_service", "redis_server"]

ROWS = 50_000
RECORDER = "tests.distributed.statement_recorder"


@pytest.mark.long
@sqlite
def test_every_statement_of_a_running_worker_and_dispatcher_uses_an_index(
    null_service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Jobs succeed, are canceled while they run, share results, and are handed back by a worker that stops."""
    service, file = null_service, tmp_path / "statements"
    service.change_settings({"shutdown_seconds": 1.0})
    monkeypatch.setenv(VARIABLE, str(file))
    _, spec = Catalogue.load([CARD], "null").resolve(JobRequest(prompt="a red apple", seed=1))
    fill(service.database, spec, ROWS)
    with service.database.write() as session:
        session.execute(update(Tenant).values(share_results=True))
    dispatcher = service.start("dispatcher", module=RECORDER)
    [worker] = service.start_workers(1, module=RECORDER)
    service.wait([*service.submit(9), *service.submit(3, seed=7), *service.submit(2, prompt=None, description="a car")])
    endless = service.submit(3, steps=1000)
    eventually(lambda: {job.state for job in service.jobs(endless)} == {JobState.RUNNING})
    with service.database.write() as session:
        cancel(session, Job.id == endless[0])
    eventually(lambda: "cancel" in service.jobs(endless)[0].state)
    for process in (worker, dispatcher):
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    statements = read_statements(file)
    assert {"UPDATE jobs", "SELECT jobs"} <= {sql[:11] for sql in statements}
    assert len(statements) > 60, sorted(statements)
    found = scans(service.database, statements) + scans(service.database, statements, without_statistics=True)
    assert not found, f"{len(found)} of {len(statements)}:\n\n" + "\n\n".join(found)
