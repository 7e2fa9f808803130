"""SIMULATION, not a measurement: step-level, dynamic and no batching on 1 to 64 H200s.

    python -m bench.simulation [--quick]

A seeded discrete-event simulation. Ours runs the real `limner_worker.engine.scheduler.Scheduler`, one per
device; the time of one step is the published curve of Qwen-Image at 512x512 on an H200 (sglang,
pull request 22183). The unit of time is one step of one picture alone on a device. Jobs of 4 to 50 steps arrive as a
Poisson process, at 50, 80 and 95 % of the capacity with the largest batch always full; each goes to the device with
the fewest remaining steps, and waits there for a free slot.

- ours: a job joins between two steps and leaves after its last one; batches are padded to a card's default buckets, and
  a device holds as many jobs as a worker's default slots.
- dynamic batching: waiting jobs, up to the batch size, run as one batch of whole requests for the steps of the longest;
  none joins or leaves earlier. In its favour: no wait for a full batch, no padding, and the best batch size at each
  point.
- dynamic, leaving: the same, but a row costs nothing after its own last step; no server known to us does this, and it
  is the upper bound for batching whole requests.
- none: one job after another.

A policy that cannot carry a load has no steady state there; its latency then depends on the trace's length.
Latency is from a job's arrival to its end; the first tenth of each trace is warm-up. Rounds are seeds; all policies
use the same trace in each. Goal: ours has the lowest 95th percentile at every load on every number of devices.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from typing import Any, Final, Protocol, cast

import click
import numpy as np
from matplotlib import pyplot as plt

from bench.common import conclude, save, summary
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import Lane
from limner_shared.settings import Settings
from limner_worker.engine.scheduler import Scheduler

SPEEDUPS: Final = {1: 1.0, 2: 1.82, 3: 2.69, 16: 3.21}
"""Rows per second at a batch size, relative to size 1."""
BUCKETS: Final[tuple[int, ...]] = ModelCard.model_fields["buckets"].default
SLOTS: Final[int] = Settings.model_fields["slots"].default
SIZES: Final = (2, 3, 4, 8)
"""The batch sizes of dynamic batching, of which the best counts."""
STEPS: Final = (4, 50)
Latency = dict[str, dict[str, float]]
LOADS: Final = (0.5, 0.8, 0.95)
DEVICES: Final = (1, 4, 16, 64)


def step_time(rows: int) -> float:
    """Return the time of one step of `rows` rows, interpolated linearly between the published sizes."""
    return float(np.interp(rows, list(SPEEDUPS), [size / gain for size, gain in SPEEDUPS.items()]))


STEP_TIMES: Final = [step_time(rows) for rows in range(BUCKETS[-1] + 1)]
CAPACITY: Final = BUCKETS[-1] / STEP_TIMES[BUCKETS[-1]] / (sum(STEPS) / 2)
"""Jobs per unit of time of one device."""


@dataclass(eq=False, slots=True)
class Job:
    """A row of the real scheduler: one image."""

    arrival: float
    steps: int
    key: Hashable = ()
    left: int = 0
    end: float = 0.0

    @property
    def remaining(self) -> int:
        """Remaining steps."""
        return self.left

    @property
    def width(self) -> int:
        """Places of a batch."""
        return 1


class Device(Protocol):
    """One device under a policy."""

    to_do: int
    """Steps of the assigned jobs that have not ended."""

    def give(self, job: Job) -> None:
        """Assign a job to this device."""
        ...

    def work(self, now: float) -> float | None:
        """Begin the next step or batch at `now`; returns its end, or None if there is none."""
        ...


class StepLevel:
    """Ours: runs one step of the scheduler's next batch at a time."""

    def __init__(self) -> None:
        self.to_do = 0
        self._waiting: deque[Job] = deque()
        self._scheduler: Scheduler[Job] = Scheduler(lambda _key: BUCKETS)

    def give(self, job: Job) -> None:
        """Queue the job until the next step begins."""
        self._waiting.append(job)
        self.to_do += job.steps

    def work(self, now: float) -> float | None:
        """Run one step of one batch."""
        while self._waiting and len(self._scheduler) < SLOTS:
            self._scheduler.add(self._waiting.popleft(), Lane.NORMAL)
        batch = self._scheduler.next_batch()
        if not batch:
            return None
        now += STEP_TIMES[next(bucket for bucket in BUCKETS if bucket >= len(batch))]
        for job in batch:
            job.left -= 1
            job.end = now
        self._scheduler.remove([job for job in batch if not job.left])
        self.to_do -= len(batch)
        return now


class Whole:
    """Batches of at most `size` whole requests, closed when they begin."""

    def __init__(self, size: int, *, leaving: bool) -> None:
        self.to_do = 0
        self._size = size
        self._leaving = leaving
        self._waiting: deque[Job] = deque()
        self._running: list[Job] = []

    def give(self, job: Job) -> None:
        """Queue the job until the running batch has ended."""
        self._waiting.append(job)
        self.to_do += job.steps

    def work(self, now: float) -> float | None:
        """Run a batch of the waiting jobs; all of them end with the longest."""
        self.to_do -= sum(job.steps for job in self._running)
        self._running = [self._waiting.popleft() for _ in range(min(self._size, len(self._waiting)))]
        if not self._running:
            return None
        for step in range(max(job.steps for job in self._running)):
            now += STEP_TIMES[sum(job.steps > step or not self._leaving for job in self._running)]
        for job in self._running:
            job.end = now
        return now


POLICIES: Final[dict[str, list[Callable[[], Device]]]] = {
    "ours": [StepLevel],
    "dynamic": [partial(Whole, size, leaving=False) for size in SIZES],
    "dynamic, leaving": [partial(Whole, size, leaving=True) for size in SIZES],
    "none": [partial(Whole, 1, leaving=False)],
}
"""The variants of each policy; the one with the lowest 95th percentile counts."""


def trace(seed: int, load: float, devices: int, count: int) -> list[Job]:
    """Return Poisson arrivals of jobs with random steps."""
    draw = random.Random(f"{seed} {load} {devices}")  # noqa: S311 - the same trace in every run
    now = 0.0
    jobs: list[Job] = []
    for _ in range(count):
        now += draw.expovariate(load * devices * CAPACITY)
        steps = draw.randint(*STEPS)
        jobs.append(Job(now, steps, left=steps))
    return jobs


def simulate(make: Callable[[], Device], jobs: Sequence[Job], devices: int) -> list[float]:
    """Return the latency of every job after the warm-up."""
    fleet = [make() for _ in range(devices)]
    idle = set(range(devices))
    events: list[tuple[float, int]] = []  # when which device is free
    for job in jobs:
        run_until(job.arrival, fleet, idle, events)
        chosen = min(range(devices), key=lambda number: fleet[number].to_do)
        fleet[chosen].give(job)
        if chosen in idle:
            idle.discard(chosen)
            heappush(events, (job.arrival, chosen))
    run_until(float("inf"), fleet, idle, events)
    return [job.end - job.arrival for job in jobs[len(jobs) // 10 :]]


def run_until(now: float, fleet: Sequence[Device], idle: set[int], events: list[tuple[float, int]]) -> None:
    """Let every device that is free by `now` begin its next work."""
    while events and events[0][0] <= now:
        at, number = heappop(events)
        end = fleet[number].work(at)
        if end is None:
            idle.add(number)
        else:
            heappush(events, (end, number))


def point(load: float, devices: int, rounds: int, count: int) -> dict[str, Latency]:
    """Return mean and 95th percentile of each policy over the seeds."""

    def found(make: Callable[[], Device]) -> Latency:
        latencies = [simulate(make, trace(seed, load, devices, count), devices) for seed in range(rounds)]
        return {
            "mean": summary([float(np.mean(some)) for some in latencies]),
            "p95": summary([float(np.percentile(some, 95)) for some in latencies]),
        }

    return {
        name: min((found(make) for make in variants), key=lambda latency: latency["p95"]["median"])
        for name, variants in POLICIES.items()
    }


def plot(points: dict[int, dict[float, dict[str, Latency]]]) -> None:
    """Plot latency against load, with one column per number of devices."""
    figure, rows = plt.subplots(2, len(points), figsize=(3.2 * len(points), 6), sharex=True, sharey="row")
    for row, figure_name in zip(rows, ("mean", "p95"), strict=True):
        for axes, (devices, by_load) in zip(row, points.items(), strict=True):
            for name in POLICIES:
                values = [by_load[load][name][figure_name]["median"] for load in LOADS]
                axes.plot([100 * load for load in LOADS], values, marker="o", label=name)
            axes.set_yscale("log")
            axes.set_title(f"{figure_name}, {devices} devices")
            axes.set_xlabel("load, %")
    rows[0][0].set_ylabel("latency, steps of one alone")
    rows[1][0].set_ylabel("latency, steps of one alone")
    rows[0][0].legend()
    cast("Any", figure).suptitle("SIMULATION with the published H200 curve of Qwen-Image 512x512")
    save(figure, "simulation")


@click.command()
@click.option("--quick", is_flag=True, help="Fewer seeds and jobs, under 50 s.")
def main(quick: bool) -> None:
    """Simulate, and print the figures."""
    rounds, each = (3, 40) if quick else (7, 300)
    points = {
        devices: {load: point(load, devices, rounds, max(1500, each * devices)) for load in LOADS}
        for devices in DEVICES
    }
    plot(points)
    found = [latencies for by_load in points.values() for latencies in by_load.values()]
    lowest = {
        name: sum(latencies["ours"]["p95"]["median"] < latencies[name]["p95"]["median"] for latencies in found)
        for name in POLICIES
        if name != "ours"
    }
    figures: dict[str, Any] = {
        "simulated": True,
        "unit": "one step of one picture alone on a device",
        "points": len(found),
        "ours_has_the_lower_p95_at": lowest,
        "latency": {
            f"{devices} devices": {f"load {load:.0%}": latencies for load, latencies in by_load.items()}
            for devices, by_load in points.items()
        },
    }
    conclude(
        "simulation",
        figures,
        "SIMULATION: ours has the lowest p95 at every point",
        met=min(lowest.values()) == len(found),
    )


if __name__ == "__main__":
    main()
