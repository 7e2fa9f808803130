"""The end of a worker whose thread fails: within a few seconds, whatever hangs, and its jobs run elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner_shared.domain.jobs import JobState
from limner_shared.process_end import EXIT_CODE, LAST_SECONDS
from tests.distributed.null_services import assert_all_correct, null_service, redis_server
from tests.distributed.proxy import Proxy
from tests.distributed.test_faults import start_faulty_worker
from tests.processes import Service, eventually

__all__ = ["null_service", "redis_server"]
pytestmark = [pytest.mark.long, pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)]
STEPS = 300
"""Of 20 ms: no job ends before its worker."""
MARGIN_SECONDS = 3.0


@pytest.fixture
def proxy(database_url: str) -> Iterator[Proxy]:
    """A proxy between the workers and the database."""
    proxy = Proxy(database_url)
    yield proxy
    proxy.close()


@pytest.mark.parametrize("frozen", [False, True], ids=["database there", "database frozen"])
def test_a_worker_whose_thread_fails_ends_in_time_and_its_jobs_run_elsewhere(
    null_service: Service, proxy: Proxy, tmp_path: Path, frozen: bool
):
    """Which job made the thread fail, if any did, is not known: each counts a loss, as those of a lost worker do."""
    null_service.start("dispatcher")
    null_service.settings = null_service.settings.model_copy(update={"database_url": proxy.url})
    worker = start_faulty_worker(null_service, "thread", str(tmp_path / "fail"))
    eventually(lambda: null_service.ready_workers() == 1, 60)
    ids = null_service.submit(6, steps=STEPS)
    eventually(lambda: {job.state for job in null_service.jobs(ids)} == {JobState.RUNNING})
    if frozen:
        proxy.freeze()
    (tmp_path / "fail").touch()
    failed = time.monotonic()
    assert worker.wait(LAST_SECONDS + 30) == EXIT_CODE, null_service.logs()
    seconds = time.monotonic() - failed
    assert seconds < LAST_SECONDS + MARGIN_SECONDS
    assert frozen == (seconds >= LAST_SECONDS), "without the database, handing back takes all the time that it has"
    proxy.restore()
    null_service.start_workers()
    assert_all_correct(null_service, ids)
    assert {job.losses for job in null_service.jobs(ids)} == {1}
