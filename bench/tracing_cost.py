"""What traces cost: the service without a model, with a collector and without.

    python -m bench.tracing_cost [--quick]

Two services run side by side, and rounds are interleaved: the same number of single jobs goes to one, then to the
other. Every job is traced, and without a model the share of the traces is largest. The ratio of the rates shows it
together with all noise of the machine and with the work of the collector, which runs beside them; so the shares are
those of the calls: the spans that a job causes in all processes, times the time to record and encode one, divided by
the processor time that all processes spend on a job. While traces are off, a span is at most four calls that do
nothing.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from statistics import median
from typing import Any, Final

import click

from bench.common import NULL_CARD, mean_megabytes_more, report, running_stack, summary
from bench.metrics_cost import pair, stack_seconds
from limner_client.client import Client
from limner_shared import tracing

GOAL_OFF: Final = 0.001
GOAL_MB: Final = 15.0
"""With the metrics, which take less than 5 MB (`bench.metrics_cost`), observability takes less than 20 MB a process."""
ENDPOINT: Final = "OTEL_EXPORTER_OTLP_ENDPOINT"
SENDERS: Final = 8
CALLS_A_SPAN: Final = 4
PARENT: Final = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@contextmanager
def collector(spans: list[int]) -> Iterator[str]:
    """Run a collector that only counts; yields its address."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: PLC0415

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent: Any = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
            spans.append(sum(len(scope.spans) for group in sent.resource_spans for scope in group.scope_spans))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as in the base class
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def rate(client: Client, count: int) -> float:
    """Return the jobs per second of single jobs that several clients send at once."""
    started = time.perf_counter()
    with ThreadPoolExecutor(SENDERS) as senders:
        jobs = list(senders.map(client.submit, [{"prompt": f"picture {n}", "seed": n} for n in range(count)]))
    for job in jobs:
        while client.job(job.id).status not in ("succeeded", "failed"):
            time.sleep(0.02)
    return count / (time.perf_counter() - started)


def span_seconds() -> float:
    """Return the processor time of one span: recorded, and encoded in a batch."""
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: PLC0415
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter  # noqa: PLC0415

    kept, provider, samples = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False), list[float]()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    tracing.STATE.tracer = provider.get_tracer("bench")
    for _ in range(20):
        started = time.process_time()
        for _ in range(500):
            tracing.record("a span", PARENT, tracing.clock(), {tracing.JOB_ID: "job", "rows": 2, "seconds": 0.5})
        encode_spans(kept.get_finished_spans()).SerializeToString()
        samples.append((time.process_time() - started) / 500)
        kept.clear()
    tracing.STATE.tracer = None
    return median(samples)


def idle_call_seconds() -> float:
    """Return the processor time of one call while traces are off."""
    samples: list[float] = []
    for _ in range(20):
        started = time.process_time()
        for _ in range(10_000):
            tracing.record("a span", None, tracing.clock())
        samples.append((time.process_time() - started) / 10_000)
    return median(samples)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, under a minute.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, count = (4, 200) if quick else (10, 1000)
    null: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning", "slots": 512}
    spans: list[int] = []
    with collector(spans) as address:
        os.environ[ENDPOINT] = address
        with running_stack(**null) as traced:
            del os.environ[ENDPOINT]
            with running_stack(**null) as plain, Client(traced.url) as first, Client(plain.url) as second:
                for client in (first, second):
                    rate(client, 100)
                time.sleep(6)  # the spans of the first round are sent
                before, cpu, cpu_without = sum(spans), -stack_seconds(traced), -stack_seconds(plain)
                samples = [pair(rate, first, second, count, swapped=number % 2 == 1) for number in range(rounds)]
                time.sleep(6)
                cpu, cpu_without = cpu + stack_seconds(traced), cpu_without + stack_seconds(plain)
                memory = mean_megabytes_more(traced, plain)
    jobs = rounds * count
    spans_a_job, off = (sum(spans) - before) / jobs, idle_call_seconds()
    with_traces, without = ([sample[i] for sample in samples] for i in range(2))
    share_on = spans_a_job * (on := span_seconds()) / (cpu_without / jobs)
    share_off = CALLS_A_SPAN * spans_a_job * off / (cpu_without / jobs)
    figures = {
        "with_traces_per_s": summary(with_traces),
        "without_per_s": summary(without),
        "ratio": summary([a / b for a, b in samples]),
        "spans_per_job": round(spans_a_job, 2),
        "cpu_ms_per_job": round(1000 * cpu / jobs, 4),
        "cpu_ms_per_job_without": round(1000 * cpu_without / jobs, 4),
        "us_per_span": round(1e6 * on, 1),
        "share_on": round(share_on, 4),
        "memory_mb_per_process": memory,
        "us_per_call_off": round(1e6 * off, 3),
        "share_off": round(share_off, 6),
    }
    goal = f"off: below 0.1 % of the processor time; on: less than {GOAL_MB:.0f} MB a process"
    met = share_off < GOAL_OFF and memory < GOAL_MB
    bars = {"with traces": with_traces, "without": without}
    report("tracing_cost", figures, goal, met=met, bars=bars, unit="jobs a second")


if __name__ == "__main__":
    main()
