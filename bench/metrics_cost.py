"""What the metrics cost: the service without a model, with metrics and without.

    python -m bench.metrics_cost [--quick]

Two services run side by side, and rounds are interleaved: a bulk goes to one, then to the other. Without a model the
share of the metrics is largest. The ratio of their processor times shows it together with all noise of the machine; so
the goal is judged by the calls: how many a job causes in all processes (`bench.metrics_probe` counts them), times the
time of one, divided by the processor time that all processes spend on a job.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from statistics import median
from typing import Any, Final

import click

from bench.common import (
    NULL_CARD,
    cpu_seconds,
    mean_megabytes_more,
    processes,
    report,
    running_stack,
    summary,
)
from bench.metrics_probe import read
from limner_client.client import Client
from limner_client.local.stack import Stack
from limner_shared.metrics.exposition import share_values
from limner_shared.metrics.instruments import Counter, Histogram

GOAL: Final = 0.01
GOAL_MB: Final = 5.0


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


def seconds_each() -> tuple[float, float]:
    """Return the processor time of a call that records one value, and of a value that is recorded among ten.

    Means of counters and histograms with shared values, which are slower.
    """
    share_values()
    counter = Counter("limner_bench_total", "One.", ("model", "lane"))
    histogram = Histogram("limner_bench_seconds", "One.", ("model",), tuple(range(15)))
    calls, values = list[float](), list[float]()
    for _ in range(20):
        started = time.process_time()
        for _ in range(2000):
            counter.inc(model="m", lane="normal")
            with histogram.time(model="m"):
                pass
        calls.append((time.process_time() - started) / 4000)
        started = time.process_time()
        for _ in range(200):
            counter.inc_each(("m", "normal") for _ in range(10))
            histogram.observe_each((number, ("m",)) for number in range(10))
        values.append((time.process_time() - started) / 4000)
    return median(calls), median(values)


def share(cpu: float, calls: float, values: float) -> dict[str, float]:
    """Return what the metrics cost a job, of its processor time: `cpu` seconds, `calls` and `values` of the probe."""
    # A process of its own: it shares its values through its environment, which the services must not inherit.
    code = "from bench.metrics_cost import seconds_each; print(*seconds_each())"
    taken = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    call, value = map(float, taken.split())
    return {
        "calls_per_job": round(calls, 3),
        "values_per_job": round(values, 3),
        "us_per_call": round(1e6 * call, 3),
        "us_per_value": round(1e6 * value, 3),
        "share": round((calls * call + values * value) / cpu, 5),
    }


@contextmanager
def services() -> Iterator[tuple[Stack, Stack, Path]]:
    """Start a service with metrics and one without; yields them and the folder of the first one's probe."""
    null: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning", "slots": 512}
    with (
        tempfile.TemporaryDirectory() as folder,
        running_stack(metrics=True, through=("bench.metrics_probe", folder), **null) as measured,
        running_stack(metrics=False, **null) as plain,
    ):
        yield measured, plain, Path(folder)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, about a minute.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, count = (6, 500) if quick else (20, 3000)
    rates, costs = list[tuple[float, float]](), list[tuple[float, float]]()
    with (
        services() as (measured, plain, probe),
        Client(measured.url) as first,
        Client(plain.url) as second,
    ):
        for client in (first, second):
            rate(client, 200)
        before = read(probe)
        for number in range(rounds):
            spent = stack_seconds(measured), stack_seconds(plain)
            rates.append(pair(rate, first, second, count, swapped=number % 2 == 1))
            costs.append(
                ((stack_seconds(measured) - spent[0]) / count, (stack_seconds(plain) - spent[1]) / count),
            )
        memory = mean_megabytes_more(measured, plain)
        calls, values = ((now - then) / (rounds * count) for now, then in zip(read(probe), before, strict=True))
    on, off = ([each[i] for each in rates] for i in range(2))
    cost = share(median(cost for cost, _ in costs), calls, values)
    figures = {
        "with_metrics_per_s": summary(on),
        "without_per_s": summary(off),
        "cpu_ms_per_job": summary([1000 * cost for cost, _ in costs]),
        "cpu_ms_per_job_without": summary([1000 * cost for _, cost in costs]),
        "cpu_ratio": summary([cost / without for cost, without in costs]),
        "memory_mb_per_process": memory,
    } | cost
    report(
        "metrics_cost",
        figures,
        f"below 1 % of the processor time of a job, and less than {GOAL_MB:.0f} MB a process",
        met=cost["share"] < GOAL and memory < GOAL_MB,
        bars={"with metrics": on, "without": off},
        unit="jobs a second",
    )


if __name__ == "__main__":
    main()
