"""SIMULATION, not a measurement: 10,000 jobs a second on 10,000 devices, by the number of cells.

    python -m bench.scale_out [--quick]

Jobs arrive as a Poisson process, submitted one by one. Each costs its cell's web processes, PostgreSQL, dispatcher and
Valkey the processor time that `bench.capacity` measured on two cores. A cell has one dispatcher, one Valkey of one
thread and a PostgreSQL of 16 cores, each of which serves one job after another; web processes are as many as 80 % of
their time needs. Tenants are unequal, the n-th of 2,000 with a weight of n^-0.8, and placed by the real shuffle
sharding. Devices run the real scheduler of a worker with the published curve of `bench.simulation`, at 80 % of their
capacity; a cell has its share of them, and each job goes to the less busy of two.

Overhead: from a job's arrival until it could be claimed. A cell whose load exceeds its capacity has no steady state,
and its figure then depends on the length of the trace. Goal: with the most cells, the 95th percentile of the overhead
is below 0.1 s and no part is busy for more than 80 % of the time.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from heapq import heappush, heapreplace
from itertools import accumulate
from typing import Any, Final

import click
import numpy as np

from bench.common import conclude
from bench.simulation import CAPACITY, STEPS, Job, StepLevel, run_until
from limner_client.operations.cells import Cell, Cells, place

PER_SECOND, DEVICES, TENANTS = 10_000, 10_000, 2000
LOAD: Final = 0.8
STEP_SECONDS: Final = LOAD * DEVICES * CAPACITY / PER_SECOND
"""The time of one step of one picture alone, so that the devices are busy by this load."""
SECONDS_PER_JOB: Final = {"web": 0.0142, "postgresql": 0.0051, "valkey": 0.00042, "dispatcher": 0.00046}
"""Processor time of a job that is submitted by itself, as `bench.capacity` measured it."""
POSTGRESQL_CORES: Final = 16
NUMBERS: Final = (1, 2, 4, 8, 16)
MOST_BUSY: Final = 0.8
GOAL_SECONDS: Final = 0.1


def shares(number: int) -> list[list[float]]:
    """Return the weights of the tenants of each cell."""
    names = [f"c{each}" for each in range(number)]
    cells = Cells(
        listen=("127.0.0.1:1",),
        cells_per_tenant=min(2, number),
        cells={name: Cell(servers=(f"127.0.0.1:{port}",)) for port, name in enumerate(names, 2)},
    )
    found: dict[str, list[float]] = {name: [] for name in names}
    for tenant in range(1, TENANTS + 1):
        found[place(f"tenant-{tenant}", cells)[0]].append(tenant**-0.8)
    return list(found.values())


class ControlPlane:
    """The parts of one cell, each of which serves one job after another on each of its cores."""

    def __init__(self, jobs_per_second: float) -> None:
        web = math.ceil(jobs_per_second * SECONDS_PER_JOB["web"] / MOST_BUSY)
        self._cores = {"web": web, "postgresql": POSTGRESQL_CORES, "valkey": 1, "dispatcher": 1}
        self._free = {part: [0.0] * cores for part, cores in self._cores.items()}
        self.busy = {part: jobs_per_second * SECONDS_PER_JOB[part] / cores for part, cores in self._cores.items()}

    def passed(self, now: float) -> float:
        """Return when a job that arrives now can be claimed."""
        for part, free in self._free.items():
            now = max(now, free[0]) + SECONDS_PER_JOB[part]
            heapreplace(free, now)
        return now


def overheads(number: int, seconds: float) -> tuple[list[tuple[float, int]], list[float], dict[str, float]]:
    """Return when and in which cell each job can be claimed, the overheads, and the load of the busiest cell."""
    draw = random.Random(number)  # noqa: S311 - the same trace in every run
    weights = [sum(each) for each in shares(number)]
    parts = [ControlPlane(PER_SECOND * weight / sum(weights)) for weight in weights]
    bounds = list(accumulate(weights))
    ready: list[tuple[float, int]] = []
    waits: list[float] = []
    now = 0.0
    while (now := now + draw.expovariate(PER_SECOND)) < seconds:
        [cell] = draw.choices(range(number), cum_weights=bounds)
        at = parts[cell].passed(now)
        ready.append((at, cell))
        waits.append(at - now)
    busiest = max(parts, key=lambda each: each.busy["dispatcher"]).busy
    return sorted(ready), waits[len(waits) // 10 :], {part: round(each, 2) for part, each in busiest.items()}


def devices(ready: Sequence[tuple[float, int]], number: int) -> list[float]:
    """Return the seconds from the time when each job can be claimed to its end, of the second half of the jobs."""
    draw = random.Random(number)  # noqa: S311 - the same trace in every run
    counts = Counter(cell for _, cell in ready)
    fleets: list[range] = []
    for cell in range(number):
        start = fleets[-1].stop if fleets else 0
        fleets.append(range(start, start + max(1, round(DEVICES * counts[cell] / len(ready)))))
    fleet = [StepLevel() for _ in range(fleets[-1].stop)]
    idle, events = set(range(len(fleet))), list[tuple[float, int]]()
    jobs: list[Job] = []
    for at, cell in ready:
        now, steps = at / STEP_SECONDS, draw.randint(*STEPS)
        jobs.append(job := Job(now, steps, left=steps))
        run_until(now, fleet, idle, events)
        some = draw.choice(fleets[cell]), draw.choice(fleets[cell])
        chosen = min(some, key=lambda device: fleet[device].to_do)
        fleet[chosen].give(job)
        if chosen in idle:
            idle.discard(chosen)
            heappush(events, (now, chosen))
    run_until(math.inf, fleet, idle, events)
    return [(job.end - job.arrival) * STEP_SECONDS for job in jobs[len(jobs) // 2 :]]


@click.command()
@click.option("--quick", is_flag=True, help="Shorter traces, under 60 s.")
def main(quick: bool) -> None:
    """Simulate, and print the figures."""
    seconds = 5.0 if quick else 30.0
    by_cells: dict[int, dict[str, Any]] = {}
    ready: list[tuple[float, int]] = []
    for number in NUMBERS:
        ready, waits, busy = overheads(number, seconds)
        by_cells[number] = {"overhead_p95_seconds": round(float(np.percentile(waits, 95)), 4), "busiest_cell": busy}
    latencies = devices(ready, NUMBERS[-1])
    last = by_cells[NUMBERS[-1]]
    figures: dict[str, Any] = {
        "simulated": True,
        "jobs": len(ready),
        "devices": DEVICES,
        "step_seconds": round(STEP_SECONDS, 4),
        "by_cells": by_cells,
        "device_seconds_with_most_cells": {
            name: round(float(np.percentile(latencies, part)), 2) for name, part in (("median", 50), ("p95", 95))
        },
    }
    met = last["overhead_p95_seconds"] < GOAL_SECONDS and max(last["busiest_cell"].values()) <= MOST_BUSY
    conclude("scale_out", figures, "SIMULATION: overhead below 0.1 s, no part busy above 80 %", met=met)


if __name__ == "__main__":
    main()
