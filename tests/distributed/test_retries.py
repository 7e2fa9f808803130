"""Which errors of a worker are retried: through a real worker and dispatcher, with injected faults."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from limner_client.cli.main import cli
from limner_client.local.embedded_valkey import free_port
from limner_shared.db.tables import Event
from limner_shared.storage.blobs import Blobs, input_key
from tests.distributed.null_services import null_service, redis_server
from tests.distributed.test_faults import start_faulty_worker
from tests.processes import Service, eventually

pytestmark = pytest.mark.long

__all__ = ["null_service", "redis_server"]


def retries(service: Service, job_id: str) -> list[str]:
    """The codes of the errors after which a job was retried."""
    with service.database.read() as session:
        query = select(Event.detail).where(Event.job_id == job_id, Event.kind == "retried").order_by(Event.id)
        return [detail["error"] for detail in session.scalars(query)]


@pytest.mark.parametrize(("fault", "code"), [("memory", "out_of_memory"), ("files", "resource_unreadable")])
def test_a_job_succeeds_once_the_device_has_memory_and_the_model_its_files(null_service: Any, fault: str, code: str):
    null_service.start("dispatcher")
    start_faulty_worker(null_service, fault, 2)
    [job_id] = null_service.submit(max_retries=5)
    [job] = null_service.wait([job_id])
    assert (job.state, job.retries, job.losses) == ("succeeded", 2, 0), null_service.logs()
    assert retries(null_service, job_id) == [code, code]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_picture_that_never_fits_fails_after_two_retries_with_any_limit(null_service: Any):
    null_service.start("dispatcher")
    start_faulty_worker(null_service, "memory", 1000)
    [patient] = null_service.submit(max_retries=20)
    [impatient] = null_service.submit(max_retries=0)
    jobs = null_service.wait([patient, impatient])
    assert [(job.error_code, job.error_retryable, job.attempt) for job in jobs] == [
        ("out_of_memory", True, 3),
        ("out_of_memory", True, 1),
    ]
    assert "request a smaller size" in jobs[0].error_message


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_an_error_of_unknown_cause_is_not_retried(null_service: Any):
    null_service.start("dispatcher")
    start_faulty_worker(null_service, "poison", 1)
    poisoned = null_service.submit(max_retries=5, prompt="poison: raises")
    [job] = null_service.wait(poisoned)
    assert (job.error_code, job.attempt, job.retries) == ("generation_failed", 1, 0)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_whose_input_can_never_be_read_fails_after_its_retries_and_holds_up_no_other(null_service: Any):
    blobs = Blobs(null_service.settings.resolved_blob_url)
    digest = blobs.put_input(b"archived")
    stored = Path(blobs.folder or "", input_key(digest))
    stored.unlink()
    stored.symlink_to(digest)  # to itself, which every read refuses
    null_service.start("dispatcher")
    null_service.start("worker")
    [unreadable] = null_service.submit(image=digest, max_retries=1)
    others = null_service.submit(20)
    [job] = null_service.wait([unreadable])
    assert (job.error_code, job.retries, job.losses) == ("object_unreadable", 1, 0), null_service.logs()
    assert {(other.state, other.attempt) for other in null_service.wait(others)} == {("succeeded", 1)}
    assert "handing the job back" not in null_service.logs()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_job_fails_while_nothing_can_be_signed_and_each_is_signed_afterwards(null_service: Any, tmp_path: Path):
    pytest.importorskip("c2pa", reason="the extra `c2pa` is not installed")
    folder = tmp_path / "certificate"
    made = CliRunner().invoke(cli, ["c2pa", "new-certificate", str(folder), "--organization", "Example Ltd"])
    assert made.exit_code == 0, made.output
    files = {"c2pa_certificate": folder / "certificate.pem", "c2pa_key": folder / "key.pem", "c2pa": "on"}
    away = f"http://127.0.0.1:{free_port()}/"
    null_service.change_settings(files | {"c2pa_timestamp_url": away})
    null_service.start("dispatcher")
    worker = null_service.start("worker")
    ids = null_service.submit(20, max_retries=0)
    eventually(lambda: all(retries(null_service, job_id) for job_id in ids), 60)
    waiting = null_service.jobs(ids)
    assert {job.state for job in waiting} <= {"queued", "running"}
    assert {(job.retries, job.losses) for job in waiting} == {(0, 0)}
    worker.terminate()
    null_service.change_settings({"c2pa_timestamp_url": ""})
    null_service.start("worker")
    jobs = null_service.wait(ids)
    assert {(job.state, job.retries) for job in jobs} == {("succeeded", 0)}, null_service.logs()
