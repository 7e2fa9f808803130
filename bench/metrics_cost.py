"""What the metrics cost: the service without a model, with metrics and without.

    python -m bench.metrics_cost [--quick]

Two services run side by side, and rounds are interleaved: a bulk goes to one, then to the other. Without a model the
share of the metrics is largest. The ratio of the two rates shows it together with all noise of the machine; so the goal
is judged by the calls: how many measurements a job causes in all processes (as their own counts say, where a count
that grew by several at once is taken for several calls), times the time of one, divided by the processor time that all
processes spend on a job.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from io import BytesIO
from statistics import median
from typing import Any, Final

import click
import httpx

from bench.common import NULL_CARD, cpu_seconds, processes, report, running_stack, summary
from limner_client.client import Client
from limner_client.local.stack import Stack
from limner_shared.metrics.exposition import share_values
from limner_shared.metrics.instruments import Counter, Histogram

GOAL: Final = 0.01


def rate(client: Client, count: int) -> float:
    """Return the jobs per second of one bulk."""
    lines = "".join(json.dumps({"prompt": f"picture {number}", "seed": number}) + "\n" for number in range(count))
    started = time.perf_counter()
    bulk = client.submit_bulk(BytesIO(lines.encode()))
    while bulk.ended < count:
        time.sleep(0.05)
        bulk = client.bulk(bulk.id)
    return count / (time.perf_counter() - started)


def pair(
    measure: Callable[[Client, int], float], first: Client, second: Client, count: int, *, swapped: bool
) -> tuple[float, float]:
    """Return the rates of two services, measured one after the other; `swapped` measures the second one first."""
    if swapped:
        other = measure(second, count)
        return measure(first, count), other
    return measure(first, count), measure(second, count)


def stack_seconds(stack: Stack) -> float:
    """Return the processor time of web, dispatcher and worker, with their children."""
    return sum(map(cpu_seconds, processes(stack)))


def measurements(stack: Stack) -> float:
    """Return the number of measurements of all processes since their start."""
    from prometheus_client.parser import text_string_to_metric_families  # noqa: PLC0415 - after `share_values`

    web = f"{stack.url}/metrics"
    found = httpx.get(f"{web}/targets", trust_env=False).json()
    urls = [web, *(f"http://{target}/metrics" for group in found for target in group["targets"])]
    total = 0.0
    for url in urls:
        for family in text_string_to_metric_families(httpx.get(url, trust_env=False).text):
            if family.name.startswith("limner_"):
                total += sum(each.value for each in family.samples if each.name.endswith(("_count", "_total")))
    return total


def call_seconds() -> float:
    """Return the processor time of one measurement: the mean of a counter and a histogram with shared values, which are
    slower.
    """
    share_values()
    counter = Counter("limner_bench_total", "One.", ("model", "lane"))
    histogram = Histogram("limner_bench_seconds", "One.", ("model",), tuple(range(15)))
    samples: list[float] = []
    for _ in range(20):
        started = time.process_time()
        for number in range(2000):
            counter.inc(model="m", lane="normal")
            histogram.observe(number / 100, model="m")
        samples.append((time.process_time() - started) / 4000)
    return median(samples)


def share(cpu: float, calls: float, seconds: float) -> dict[str, float]:
    """Return what one job costs: `cpu` are its processor seconds, `calls` its measurements of `seconds` each."""
    return {
        "cpu_ms_per_job": round(1000 * cpu, 4),
        "measurements_per_job": round(calls, 2),
        "us_per_measurement": round(1e6 * seconds, 3),
        "share": round(calls * seconds / cpu, 5),
    }


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, under a minute.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, count = (4, 300) if quick else (10, 4000)
    null: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning", "slots": 512}
    with (
        running_stack(metrics=True, **null) as measured,
        running_stack(metrics=False, **null) as plain,
        Client(measured.url) as with_metrics,
        Client(plain.url) as without,
    ):
        for client in (with_metrics, without):
            rate(client, 200)
        calls = -measurements(measured)
        cpu, cpu_without = -stack_seconds(measured), -stack_seconds(plain)
        samples = [pair(rate, with_metrics, without, count, swapped=number % 2 == 1) for number in range(rounds)]
        cpu, cpu_without = cpu + stack_seconds(measured), cpu_without + stack_seconds(plain)
        calls += measurements(measured)
    # A process of its own: it shares its values through its environment, which the services must not inherit.
    code = "from bench.metrics_cost import call_seconds; print(call_seconds())"
    taken = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    figures = share(cpu / (rounds * count), calls / (rounds * count), float(taken))
    on, off = ([sample[i] for sample in samples] for i in range(2))
    shown = {
        "with_metrics_per_s": summary(on),
        "without_per_s": summary(off),
        "ratio": summary([a / b for a, b in samples]),
        "cpu_ms_per_job_without": round(1000 * cpu_without / (rounds * count), 4),
    } | figures
    bars = {"with metrics": on, "without": off}
    report(
        "metrics_cost",
        shown,
        "below 1 % of the throughput",
        met=figures["share"] < GOAL,
        bars=bars,
        unit="jobs a second",
    )


if __name__ == "__main__":
    main()
