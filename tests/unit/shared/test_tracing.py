"""Traces in one process, with a real collector: what is recorded, and that nothing waits for it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.collector import Collector, collector
from tests.exporters import end_tracing
from tests.processes import eventually

from limner_shared import telemetry, trace_export, tracing
from limner_shared.db.ledger import Claim
from limner_shared.domain.jobs import JobSpec, Lane
from limner_shared.process_end import EXIT_CODE
from limner_shared.settings import Settings
from limner_worker.engine import attempt_trace
from limner_worker.engine.attempt_trace import AttemptTrace

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE = PARENT.split("-")[1]


@pytest.fixture
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that is configured; `begin` begins to trace."""
    with collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.endpoint)
        yield running
        running.hangs.clear()
        end_tracing()


def begin() -> None:
    trace_export.configure(Settings(), "test")
    assert tracing.enabled()


def sent(running: Collector) -> list[Any]:
    """The spans so far, after the process has sent the last ones."""
    trace_export.close()
    return running.spans


def claim(traceparent: str = PARENT) -> Claim:
    spec = JobSpec(model="m", prompt="a secret", seed=5, n=1, steps=4, guidance=1.0, width=8, height=8)
    return Claim("job_1", "tenant", None, 2, 3, Lane.NORMAL, spec, traceparent=traceparent)


def test_without_a_collector_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    trace_export.configure(Settings(), "test")
    assert not tracing.enabled()
    assert tracing.start("a span", PARENT) is None
    assert tracing.start_request("POST /", {"traceparent": PARENT}, {}) is None
    assert tracing.current_traceparent() is None
    assert AttemptTrace.of(claim(), tracing.clock()) is None


@pytest.mark.parametrize(
    ("variables", "event"),
    [
        ({"OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_TRACES_EXPORTER": "none"}, None),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "no traces: only OTLP over HTTP is supported"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "1"}, "no traces: the configuration is not valid"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_logged_and_stops_nothing(
    collecting: Collector, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], event: str | None
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with capture_logs() as logged:
        trace_export.configure(Settings(), "test")
    assert [each["event"] for each in logged] == ([] if event is None else [event])
    assert not tracing.enabled()


def test_without_the_extra_a_configured_collector_is_a_warning(collecting: Collector, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with capture_logs() as logged:
        trace_export.configure(Settings(), "test")
    assert [each["event"] for each in logged] == ["no traces: the extra otel is not installed"]
    assert not tracing.enabled()


def test_a_request_is_part_of_its_clients_trace_and_its_process_is_named(
    collecting: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=mine")
    begin()
    span = tracing.start_request("POST /", {"traceparent": PARENT}, {"a": 1, "absent": None})
    assert span is not None
    assert span.trace_id == TRACE
    span.end("internal")
    span.end()
    [received] = sent(collecting)
    assert (received.parent_id, received.service, received.is_error) == (PARENT.split("-")[2], "mine", True)
    assert received.attributes == {"a": 1, "error.type": "internal"}


@pytest.mark.parametrize("headers", [{}, {"traceparent": PARENT[:-1] + "0"}, {"traceparent": "damaged"}])
def test_a_request_that_is_not_sampled_makes_jobs_that_are_not_traced(
    collecting: Collector, monkeypatch: pytest.MonkeyPatch, headers: dict[str, str]
):
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    begin()
    tracing.set_current(tracing.start_request("POST /", headers, {}))
    assert tracing.current_traceparent() is None
    assert sent(collecting) == []


@pytest.mark.parametrize("damaged", ["", "00-zz", PARENT + "0", "00-" + "0" * 32 + "-" + "0" * 16 + "-01"])
def test_a_damaged_row_is_not_traced(collecting: Collector, damaged: str):
    begin()
    assert AttemptTrace.of(claim(traceparent=damaged), tracing.clock()) is None
    tracing.record("release", damaged, tracing.clock())
    assert sent(collecting) == []


def test_the_stages_of_an_attempt_are_below_it_and_long_runs_of_steps_are_divided(
    collecting: Collector, monkeypatch: pytest.MonkeyPatch
):
    begin()
    trace = AttemptTrace.of(claim(), tracing.clock())
    assert trace is not None
    for rows in (2, 1):
        trace.stepped(0.001, rows)
    monkeypatch.setattr(attempt_trace, "GROUP_SECONDS", 0.0)
    trace.stepped(0.001, 4)
    trace.stepped(0.001, 4)
    trace.decoded(0.001, 4)
    trace.publishing()
    trace.stage("store", tracing.clock())
    trace.ended("failed", "generation_failed")
    trace.ended("aborted")
    spans = sent(collecting)
    ids = {span.span_id: span.name for span in spans}
    below = sorted((ids.get(span.parent_id, "the request"), span.name) for span in spans)
    attempt = "generate_content m"
    names = ["claim", "decode", "publish", "steps", "steps"]
    assert below == sorted([*((attempt, name) for name in names), ("publish", "store"), ("the request", attempt)])
    steps = sorted(
        (span.attributes["limner.steps.first"], span.attributes["limner.steps.count"])
        for span in spans
        if span.name == "steps"
    )
    assert steps == [(1, 3), (4, 1)]
    [outcome] = [span for span in spans if span.name == attempt]
    assert outcome.is_error
    assert outcome.attributes["limner.attempt.outcome"] == "failed"
    assert outcome.attributes["error.type"] == "generation_failed"
    assert "secret" not in repr(spans)


def test_log_lines_about_jobs_name_their_traces(collecting: Collector):
    begin()
    trace = AttemptTrace.of(claim(), tracing.clock())
    assert trace is not None

    def line(**fields: Any) -> Any:
        return telemetry._with_traces(None, "info", fields)

    assert line(job="job_1")["trace_id"] == TRACE
    assert line(jobs={"job_1": "succeeded", "job_2": "failed"})["trace_ids"] == [TRACE]
    assert line(jobs=["job_2"]).keys() == line(job="job_2").keys() - {"job"} | {"jobs"}
    assert line(job="job_1", trace_id="a request's")["trace_id"] == "a request's"
    trace.ended("succeeded")
    assert "trace_id" not in line(job="job_1")


def test_a_thread_that_outlives_a_request_adds_nothing_to_its_trace(collecting: Collector):
    begin()
    span = tracing.start_request("POST /", {}, {})
    assert span is not None
    tracing.set_current(span)
    tracing.record_call("database write", 0.001)
    span.end()
    tracing.record_call("database read", 0.001)
    assert tracing.current_traceparent() is None
    assert sorted(each.name for each in sent(collecting)) == ["POST /", "database write"]


def record_one() -> None:
    tracing.record("a span", PARENT, tracing.clock())


def record_many() -> None:
    for _ in range(3 * 2048):  # more than the queue holds
        record_one()


def test_a_collector_that_hangs_holds_up_neither_work_nor_the_end_of_the_process(
    collecting: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600")
    monkeypatch.setattr(trace_export, "FLUSH_SECONDS", 0.1)
    collecting.hangs.set()
    begin()
    record_many()
    eventually(lambda: collecting.requests == 1)
    ended = threading.Event()
    closing = threading.Thread(target=lambda: (trace_export.close(), ended.set()), daemon=True)
    closing.start()
    assert ended.wait(25)  # the SDK alone waits for 30 s
    assert collecting.spans == []


def test_an_outage_of_the_collector_is_two_log_lines(collecting: Collector, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "20")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    collecting.hangs.set()
    with capture_logs() as logged:
        begin()
        record_many()
        eventually(lambda: collecting.requests > 2)  # several batches
        assert [each["event"] for each in logged] == [
            "traces are sent",
            "the collector takes no traces, spans are dropped",
        ]
        collecting.hangs.clear()
        eventually(lambda: record_one() or len(logged) > 2)
        assert logged[2]["event"] == "the collector takes traces again"
        end_tracing()


def test_a_collector_that_refuses_costs_a_log_line(collecting: Collector, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
    with capture_logs() as logged:
        begin()
        record_many()
        eventually(lambda: len(logged) > 1)
    assert logged[1]["event"] == "the collector takes no traces, spans are dropped"


FAILS = """
import threading
from limner_shared import trace_export, tracing
from limner_shared.settings import Settings
from limner_shared.process_end import EXIT_CODE
from limner_shared.telemetry import configure_logging
from limner_shared.threads import Supervisor

def fail():
    raise RuntimeError("broken")

configure_logging(Settings(log_level="warning"), "test")
trace_export.configure(Settings(), "test")
tracing.record("release", "%s", tracing.clock())
Supervisor().start("duty", fail)
threading.Event().wait()
"""


@pytest.mark.parametrize("hangs", [False, True], ids=["collector answers", "collector hangs"])
def test_a_process_whose_thread_fails_sends_its_last_spans_and_lines_and_ends(collecting: Collector, hangs: bool):
    if hangs:
        collecting.hangs.set()
    ended = subprocess.run(
        [sys.executable, "-c", FAILS % PARENT], capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == EXIT_CODE
    assert "thread failed, this process ends" in ended.stderr
    assert collecting.requests == 1
    assert [span.name for span in collecting.spans] == ([] if hangs else ["release"])
