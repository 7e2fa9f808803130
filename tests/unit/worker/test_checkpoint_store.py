"""A slow picture store: checkpoints do not pile up in memory, and no worker waits long for them at its end."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.processes import eventually

from limner_shared.db.ledger import Claim
from limner_shared.domain.jobs import JobSpec, Lane
from limner_shared.storage.blobs import Blobs
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.stages import checkpoints
from limner_worker.stages.checkpoints import CheckpointStore


class HeldBlobs(Blobs):
    """A store whose writes wait."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.may_write = threading.Event()
        self.written: list[bytes] = []

    def store_checkpoint(self, name: str, data: bytes) -> None:
        self.may_write.wait(20)
        self.written.append(data.rpartition(b"\n")[2])


@pytest.fixture
def held(tmp_path: Path) -> HeldBlobs:
    return HeldBlobs(tmp_path.as_uri())


@pytest.fixture
def store(held: HeldBlobs) -> CheckpointStore:
    return CheckpointStore(held, {"null": {}}, Supervisor(lambda _name, error: pytest.fail(str(error))))


@pytest.fixture
def job() -> JobRun:
    spec = JobSpec(model="null", prompt="a cat", seed=1, width=64, height=64, steps=9, guidance=1.0, n=2)
    return JobRun(Claim("job-0", "local", None, 1, 2, Lane.NORMAL, spec), lambda: None)


def test_only_the_newest_checkpoint_of_an_image_waits_for_a_slow_store(
    store: CheckpointStore, held: HeldBlobs, job: JobRun
):
    for step in range(50):
        store.store(job, 0, b"%d" % step)
        store.store(job, 1, b"%d" % (100 + step))
    held.may_write.set()
    store.flush()
    assert set(held.written[-2:]) == {b"49", b"149"}
    assert len(held.written) <= 4
    store.close()


def test_a_worker_that_drains_or_ends_does_not_wait_for_a_store_that_hangs(
    store: CheckpointStore, held: HeldBlobs, job: JobRun, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checkpoints, "FLUSH_SECONDS", 0.05)
    for index in (0, 1):
        store.store(job, index, b"step")
    store.flush()
    assert not held.written
    closing = threading.Thread(target=store.close)
    closing.start()
    closing.join(0.3)
    held.may_write.set()
    eventually(lambda: not closing.is_alive(), 5)
    assert len(held.written) == 1, "only the call that had begun"
