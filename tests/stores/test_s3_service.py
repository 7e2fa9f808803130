"""All processes with their pictures in S3 that fails: no job is lost, no picture is shown in half, and all say why."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from obstore.store import S3Store

from limner_shared.db.schema import upgrade
from limner_shared.domain.jobs import JobState
from tests.chaos.traffic import picture
from tests.processes import Service, environment, eventually
from tests.stores.s3_faults import Fault, FaultyS3
from tests.stores.test_s3_faults import URL, s3, stored_keys

__all__ = ["s3"]
pytestmark = pytest.mark.long

REASONS = {
    Fault.BUSY: "busy",
    Fault.BROKEN: "server",
    Fault.DENIED: "denied",
    Fault.SKEWED: "clock",
    Fault.NO_BUCKET: "no_bucket",
    Fault.FULL: "full",
    Fault.OVER_QUOTA: "full",
    Fault.CUT: "cut",
    Fault.HELD: "timeout",
}
"""What health says while a fault keeps uploads from succeeding."""


@pytest.fixture
def service(s3: FaultyS3, start_service: Callable[..., Service], tmp_path: Path) -> Service:
    """All processes, with their pictures in the bucket behind the proxy."""
    url = f"sqlite:///{tmp_path / 'limner.db'}"
    upgrade(url)
    started = start_service(blob_url=URL, database_url=url, web_workers=1)
    started.start("dispatcher")
    started.start_web()
    started.start_workers()
    return started


@pytest.fixture
def client(service: Service) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}", trust_env=False, timeout=90) as http:
        yield http


def submit_with_image(client: httpx.Client, number: int) -> str:
    answer = client.post("/api/v1/jobs", json={"prompt": "a boat", "image": picture(number)})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def doctor(service: Service) -> str:
    command = [sys.executable, "-m", "limner_client.cli.main", "doctor"]
    return subprocess.run(
        command, env=environment(service.settings), capture_output=True, text=True, check=False
    ).stdout


def test_a_job_outlasts_each_fault_and_its_picture_is_whole(
    service: Service, s3: FaultyS3, client: httpx.Client
) -> None:
    for fault, reason in REASONS.items():
        s3.inject(fault)
        ids = service.submit(2, seed=list(Fault).index(fault))
        eventually(lambda reason=reason: client.get("/readyz").json()["store_reasons"] == [reason], 60)
        assert client.get("/readyz").json()["status"] == "degraded"
        assert all(job.state == JobState.RUNNING for job in service.jobs(ids)), fault
        if fault is Fault.SKEWED:
            assert "Set the clock" in doctor(service)
        s3.inject(Fault.NONE)
        jobs = service.wait(ids, 120)
        assert [(job.state, job.attempt, job.losses) for job in jobs] == [(JobState.SUCCEEDED, 1, 0)] * 2, fault
        eventually(lambda: client.get("/readyz").json()["status"] == "ok")
    for key in stored_keys():
        data = bytes(S3Store("pictures", prefix="limner", client_options={"allow_http": True}).get(key).bytes())
        assert len(key.rsplit("/")[-1]) != 64 or hashlib.sha256(data).hexdigest() == key.rsplit("/")[-1]


def test_jobs_that_start_from_an_image_wait_for_a_store_that_fails_and_fail_only_for_a_lost_one(
    service: Service, s3: FaultyS3, client: httpx.Client
) -> None:
    for number, fault in enumerate((Fault.HALF, Fault.DENIED, Fault.NO_BUCKET, Fault.BROKEN)):
        s3.inject(Fault.NONE)
        worker = service.processes[-1]
        worker.send_signal(signal.SIGSTOP)  # until the image is stored and the store fails
        job_id = submit_with_image(client, number)
        s3.inject(fault)
        worker.send_signal(signal.SIGCONT)
        eventually(lambda: s3.faults >= 1, 60)
        s3.inject(Fault.NONE)
        [job] = service.wait([job_id], 120)
        assert (job.state, job.losses) == (JobState.SUCCEEDED, 0), (fault, service.logs())
    for fault in (Fault.LOST, Fault.SHORTENED):
        worker = service.processes[-1]
        worker.send_signal(signal.SIGSTOP)
        job_id = submit_with_image(client, 9)
        s3.inject(fault)
        worker.send_signal(signal.SIGCONT)
        [job] = service.wait([job_id], 120)
        s3.inject(Fault.NONE)
        assert (job.state, job.error_code) == (JobState.FAILED, "not_found"), fault
        assert "send it again" in (job.error_message or "")
    assert "an object is lost" in service.logs()


def test_downloads_are_whole_or_an_error(service: Service, s3: FaultyS3, client: httpx.Client) -> None:
    bulk = client.post(
        "/api/v1/bulks", content='{"prompt": "a boat"}\n' * 3, headers={"Content-Type": "application/jsonl"}
    ).json()
    results = bulk["links"]["results"]
    eventually(lambda: [job["status"] for job in lines(client, results)] == ["succeeded"] * 3, 60)
    [image] = lines(client, results)[0]["images"]
    file = client.post("/v1/files", files={"file": b"a" * 9_000_000}, data={"purpose": "user_data"}).json()
    assert client.get(f"/v1/files/{file['id']}/content").content == b"a" * 9_000_000
    for fault, status in {Fault.HALF: 503, Fault.DENIED: 503, Fault.SHORTENED: 404, Fault.LOST: 404}.items():
        s3.inject(fault)
        answer = client.get(f"/api/v1/images/{image['id']}")
        assert (fault, answer.status_code) == (fault, status)
        assert "immutable" not in answer.headers.get("Cache-Control", "")
        assert client.get(f"/api/v1/images/{image['id']}?format=webp&width=64").status_code == status
        if fault is Fault.SHORTENED:  # which shows at the end
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(f"/v1/files/{file['id']}/content")
        else:
            assert client.get(f"/v1/files/{file['id']}/content").status_code == status
        if status == 503:  # an archive begins at once, so it can only end early
            with pytest.raises(httpx.RemoteProtocolError):
                client.get(f"{results}?format=zip")
        s3.inject(Fault.NONE)
        eventually(lambda: client.get(f"/api/v1/images/{image['id']}").is_success, 30, every=0.5)
        whole = client.get(f"/api/v1/images/{image['id']}")
        assert hashlib.sha256(whole.content).hexdigest() == image["sha256"]
    metrics = client.get("/metrics").text
    assert 'limner_lost_objects_total{kind="picture",problem="missing"}' in metrics
    assert "the picture store fails" in service.logs()


def lines(client: httpx.Client, results: str) -> list[Any]:
    return [httpx.Response(200, text=line).json() for line in client.get(results).text.splitlines()]


def test_a_worker_that_stops_hands_its_jobs_back_while_the_store_hangs(service: Service, s3: FaultyS3) -> None:
    s3.inject(Fault.HELD)
    ids = service.submit(20)
    eventually(lambda: s3.faults >= 1, 60)
    worker, began = service.processes[-1], time.monotonic()
    worker.terminate()
    worker.wait(120)
    assert time.monotonic() - began < 90
    assert {(job.state, job.losses) for job in service.jobs(ids)} == {(JobState.QUEUED, 0)}, service.logs()
    s3.inject(Fault.NONE)
    service.start_workers()
    assert {(job.state, job.losses) for job in service.wait(ids, 120)} == {(JobState.SUCCEEDED, 0)}


def test_a_slow_store_delays_jobs_and_ends_no_process(service: Service, s3: FaultyS3, client: httpx.Client) -> None:
    s3.inject(Fault.SLOW)
    ids = [submit_with_image(client, 1), *service.submit(6)]
    assert {(job.state, job.losses) for job in service.wait(ids, 120)} == {(JobState.SUCCEEDED, 0)}
    assert all(process.poll() is None for process in service.processes)
    assert client.get("/readyz").json()["status"] == "ok"


def test_the_web_server_answers_others_while_the_store_holds_its_requests(
    service: Service, s3: FaultyS3, client: httpx.Client
) -> None:
    [job] = service.wait(service.submit(1))
    [image] = client.get(f"/api/v1/jobs/{job.id}").json()["images"]
    s3.inject(Fault.HELD)
    with ThreadPoolExecutor(4) as threads:
        held = [threads.submit(client.get, f"/api/v1/images/{image['id']}") for _ in range(4)]
        eventually(lambda: s3.faults >= 1)
        assert client.get(f"/api/v1/jobs/{job.id}").is_success
        assert not any(each.done() for each in held)
        s3.inject(Fault.NONE)
        assert all(hashlib.sha256(each.result().content).hexdigest() == image["sha256"] for each in held)
