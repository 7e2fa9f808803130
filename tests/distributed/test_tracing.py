"""Traces of a whole service: its real processes send them to a real collector."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from limner_client.local.embedded_valkey import free_port
from tests.collector import Collector, ReceivedSpan, collector
from tests.processes import Service, eventually
from tests.receivers import receiver

ROOT = Path(__file__).parents[2]
CARDS: dict[str, Any] = {"models": (ROOT / "tests" / "models",), "default_model": "null"}
CLIENT_TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT_SPAN = "b7ad6b7169203331"
DESCRIPTION = "a crimson wolverine beside a lighthouse"
STAGES = {"claim", "interpret", "encode", "steps", "decode", "publish", "store", "commit"}

pytestmark = [pytest.mark.long, pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)]


@pytest.fixture
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector to which the processes that start from now on send their traces."""
    with collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
        yield running


def start(service: Service) -> httpx.Client:
    """Start web, dispatcher and worker; returns a client of the API."""
    more = {"port": free_port(), "web_workers": 1, "log_format": "json", "webhook_internal_targets": ("127.0.0.1",)}
    service.settings = service.settings.model_copy(update=CARDS | more)
    service.start("serve")
    service.start("dispatcher")
    service.start_workers()
    eventually(service.web_responds, 60)
    return httpx.Client(base_url=f"http://127.0.0.1:{service.settings.port}/api/v1", trust_env=False)


def log_lines(service: Service, command: str) -> list[dict[str, Any]]:
    text = "".join(file.read_text() for file in service.folder.glob(f"{command}-*.log"))
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def tree(spans: list[ReceivedSpan]) -> dict[str, set[str]]:
    """The names of the spans below each, by its name."""
    names = {span.span_id: span.name for span in spans}
    below: dict[str, set[str]] = {}
    for span in spans:
        below.setdefault(names.get(span.parent_id, span.parent_id), set()).add(span.name)
    return below


def test_one_trace_follows_a_job_from_its_request_to_its_webhook(service: Service, collecting: Collector):
    with receiver() as hook, start(service) as client:
        body = {"description": DESCRIPTION, "seed": 7, "webhook": hook.url + "/done"}
        headers = {"traceparent": f"00-{CLIENT_TRACE}-{CLIENT_SPAN}-01"}
        job_id = client.post("/jobs", json=body, headers=headers).json()["id"]
        service.wait([job_id])
        eventually(lambda: any(request.event["type"] == "job.succeeded" for request in hook.requests))
        for process in service.processes:  # they send their last spans, which are all
            process.terminate()
        assert [process.wait(25) for process in service.processes] == [0, 0, 0]
    spans = collecting.trace(CLIENT_TRACE)
    below = tree(spans)
    assert below[CLIENT_SPAN] == {"POST /api/v1/jobs"}
    assert {"send limner.null.first", "generate_content null", "webhook job.succeeded"} <= below["POST /api/v1/jobs"]
    assert below["generate_content null"] | below["publish"] == STAGES
    by_name = {span.name: span for span in spans}
    attempt = by_name["generate_content null"]
    assert attempt.attributes["gen_ai.request.seed"] == 7
    assert attempt.attributes["gen_ai.output.type"] == "image"
    assert attempt.attributes["limner.job.id"] == job_id
    assert attempt.attributes["limner.attempt.outcome"] == "succeeded"
    assert by_name["steps"].attributes["limner.steps.count"] == 10
    assert all(attempt.start <= by_name[name].start <= by_name[name].end <= attempt.end for name in STAGES)
    assert {span.service for span in spans} == {"limner-web", "limner-dispatcher", "limner-worker"}
    received = next(request for request in hook.requests if request.event["type"] == "job.succeeded")
    assert received.headers["traceparent"].split("-")[1:3] == [CLIENT_TRACE, by_name["webhook job.succeeded"].span_id]
    for word in DESCRIPTION.split()[1:3]:
        assert word not in repr(collecting.spans)
    finished = next(line for line in log_lines(service, "worker") if line["event"] == "jobs finished")
    assert finished["trace_ids"] == [CLIENT_TRACE]
    requests = [line for line in log_lines(service, "serve") if line["event"] == "request"]
    assert [line["trace_id"] for line in requests if line.get("job") == job_id] == [CLIENT_TRACE]


@pytest.mark.parametrize("fault", ["hangs", "refuses"])
def test_a_collector_that_takes_nothing_loses_no_job_and_stops_no_process(
    service: Service, collecting: Collector, monkeypatch: pytest.MonkeyPatch, fault: str
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600")
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    if fault == "refuses":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    collecting.hangs.set()
    with start(service) as client:
        lines = "".join(json.dumps({"prompt": f"picture {number}"}) + "\n" for number in range(40))
        bulk_id = client.post("/bulks", content=lines, headers={"Content-Type": "application/jsonl"}).json()["id"]
        ids = [client.post("/jobs", json={"prompt": "a red apple"}).json()["id"] for _ in range(20)]
        assert {job.state for job in service.wait(ids)} == {"succeeded"}
        eventually(lambda: client.get(f"/bulks/{bulk_id}").json()["counts"].get("succeeded") == 40)
    if fault == "hangs":
        assert collecting.requests >= 2
    for process in service.processes:
        process.terminate()
    assert [process.wait(25) for process in service.processes] == [0, 0, 0]  # the SDK alone waits for 30 s
    assert collecting.spans == []
