"""SIMULATION, not a measurement: a day of traffic, and what three policies for the number of workers cost and give.

    python -m bench.autoscaling [--quick]

Devices run the real scheduler with the published curve of `bench.simulation`; a step of one picture alone takes a
second. Every 15 s the policy says how many workers there should be; one takes 90 s to start, and a stopping one
finishes what it holds. A worker takes waiting jobs while it has a free slot. The day: almost nothing at night, two
humps, three surges of ten minutes, and a batch of short previews at 3 o'clock.

- fixed: a number of workers, day and night.
- queue length: waiting jobs ÷ a number of jobs, at least one worker, Kubernetes's own 300 s of stabilisation.
- seconds of work: `limner_client.local.worker_scaling`, the chart's formula: down to none, 600 s of cool-down.
- idle time included: the same, but a worker's rate is the jobs that it ended in ten minutes, as if it had been busy.

Cost: device hours from start to end. Wait: from a job's arrival to its first step. Each policy has several values of
its one number, which are the points of its curve. The same day is then run for a model that is five times as fast with
five times as many jobs, which needs the same device hours. Goal: seconds of work with the default target costs at most
half as much as the cheapest fixed number with the same or a shorter wait, and keeps its cost and its wait for the fast
model within a quarter.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any, Final, cast

import click
import numpy as np
from matplotlib import pyplot as plt

from bench.common import conclude, save, summary
from bench.simulation import BUCKETS, SLOTS, STEP_TIMES, Job
from limner_client.local.worker_scaling import ScalingRules, WorkerScaling, seconds_of_work
from limner_shared.domain.jobs import Lane
from limner_worker.engine.scheduler import Scheduler

DAY, EVERY, START_SECONDS, RATE_WINDOW = 86_400.0, 15.0, 90.0, 600.0
MOST: Final = 16
DEFAULT_JOB_SECONDS: Final = 10.0
FIXED, JOBS, TARGETS = (2, 4, 6, 8, 12), (5, 10, 20, 40, 80), (15.0, 30.0, 60.0, 120.0, 240.0)
SURGES: Final = (9.5, 14.0, 20.25)
PREVIEWS_AT, PREVIEWS, PREVIEW_STEPS = 3.0, 2_000, 4
STEPS: Final = (10, 50)
PEAK_PER_SECOND: Final = 0.25
FAST: Final = 5
FIGURES: Final = ("device_hours", "p95_wait_seconds")


@dataclass
class Worker:
    """One device with the real scheduler, from the order to start it to its end."""

    ordered: float
    scheduler: Scheduler[Job] = field(default_factory=lambda: Scheduler[Job](lambda _key: BUCKETS))
    stopping: bool = False
    running: bool = False


Policy = Callable[["Pool", float], int]
"""The number of workers from now on."""


class Pool:
    """The waiting jobs and the workers."""

    def __init__(self, policy: Policy, speed: float) -> None:
        self._step_times = [seconds / speed for seconds in STEP_TIMES]
        self.waiting: deque[Job] = deque()
        self.workers: list[Worker] = []
        self.waits: list[float] = []
        self.hours = 0.0
        self.recent: deque[tuple[float, int, float]] = deque()
        """When how many jobs ended, and how long the device was busy, of the last ten minutes."""
        self.totals = (0, 0.0)
        self._policy = policy
        self._events: list[tuple[float, int, Worker | None]] = []
        self._number = 0

    def run(self, jobs: Sequence[Job]) -> None:
        """Run the day, and the night after it until all jobs have ended."""
        self._at(0.0, None)
        for job in jobs:
            self._until(job.arrival)
            self.waiting.append(job)
            for worker in self.workers:
                if not worker.running and not worker.stopping and worker.ordered + START_SECONDS <= job.arrival:
                    worker.running = True
                    self._at(job.arrival, worker)
                    break
        self._until(math.inf)

    def _at(self, when: float, worker: Worker | None) -> None:
        self._number += 1
        heappush(self._events, (when, self._number, worker))

    def _until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            now, _, worker = heappop(self._events)
            if worker is not None:
                self._work(worker, now)
            elif now < DAY or self.waiting or any(worker.running for worker in self.workers):
                self._scale(now)
                self._at(now + EVERY, None)
            else:
                self.hours += sum(now - worker.ordered for worker in self.workers) / 3600

    def _work(self, worker: Worker, now: float) -> None:
        while self.waiting and not worker.stopping and len(worker.scheduler) < SLOTS:
            job = self.waiting.popleft()
            self.waits.append(now - job.arrival)
            worker.scheduler.add(job, Lane.NORMAL)
        batch = worker.scheduler.next_batch()
        worker.running = bool(batch)
        if not batch:
            if worker.stopping:
                self._end(worker, now)
            return
        busy = self._step_times[next(bucket for bucket in BUCKETS if bucket >= len(batch))]
        for job in batch:
            job.left -= 1
        ended = [job for job in batch if not job.left]
        worker.scheduler.remove(ended)
        self.recent.append((now + busy, len(ended), busy))
        self.totals = (self.totals[0] + len(ended), self.totals[1] + busy)
        self._at(now + busy, worker)

    def _scale(self, now: float) -> None:
        while self.recent and self.recent[0][0] < now - RATE_WINDOW:
            _, ended, busy = self.recent.popleft()
            self.totals = (self.totals[0] - ended, self.totals[1] - busy)
        kept = [worker for worker in self.workers if not worker.stopping]
        wanted = self._policy(self, now)
        for _ in range(wanted - len(kept)):
            worker = Worker(now, running=True)
            self.workers.append(worker)
            self._at(now + START_SECONDS, worker)
        for worker in sorted(kept, key=lambda worker: len(worker.scheduler))[: max(0, len(kept) - wanted)]:
            worker.stopping = True
            if not worker.running:
                self._end(worker, now)

    def _end(self, worker: Worker, now: float) -> None:
        self.hours += (now - worker.ordered) / 3600
        self.workers.remove(worker)

    @property
    def size(self) -> int:
        """Workers that are not stopping."""
        return sum(not worker.stopping for worker in self.workers)


def fixed(number: float) -> Policy:
    """Always the same number."""
    return lambda _pool, _now: int(number)


def by_length(target: float) -> Policy:
    """By the number of waiting jobs."""
    scaling = WorkerScaling(ScalingRules(1, MOST, target, 300.0))
    return lambda pool, now: scaling.workers(now, pool.size, len(pool.waiting))


def by_seconds(target: float) -> Policy:
    """By the seconds of work that wait."""
    scaling = WorkerScaling(ScalingRules(0, MOST, target))

    def policy(pool: Pool, now: float) -> int:
        seconds = seconds_of_work(len(pool.waiting), *pool.totals, DEFAULT_JOB_SECONDS)
        return scaling.workers(now, pool.size, seconds)

    return policy


def by_ended(target: float) -> Policy:
    """By the seconds of work, as the jobs that the workers ended in the last ten minutes tell."""
    scaling = WorkerScaling(ScalingRules(0, MOST, target))

    def policy(pool: Pool, now: float) -> int:
        ended = pool.totals[0]
        seconds = seconds_of_work(len(pool.waiting), ended, RATE_WINDOW * pool.size, DEFAULT_JOB_SECONDS)
        return scaling.workers(now, pool.size, seconds)

    return policy


POLICIES: Final[dict[str, tuple[Callable[[float], Policy], Sequence[float]]]] = {
    "seconds of work": (by_seconds, TARGETS),
    "fixed": (fixed, FIXED),
    "queue length": (by_length, JOBS),
    "idle time included": (by_ended, TARGETS),
}


def rate(hour: float) -> float:
    """Jobs a second at an hour of the day."""
    humps = math.exp(-(((hour - 11) / 2.5) ** 2)) + 0.8 * math.exp(-(((hour - 20) / 2) ** 2))
    surge = 4 if any(start <= hour < start + 1 / 6 for start in SURGES) else 1
    return PEAK_PER_SECOND * surge * humps if 6 <= hour < 24 else PEAK_PER_SECOND / 500


def trace(seed: int, speed: int) -> list[Job]:
    """Return the jobs of a day, `speed` times as many as usual."""
    draw = random.Random(seed)  # noqa: S311 - the same trace in every run
    most = 4 * 1.2 * PEAK_PER_SECOND
    jobs = [Job(PREVIEWS_AT * 3600, PREVIEW_STEPS, left=PREVIEW_STEPS) for _ in range(PREVIEWS * speed)]
    now = 0.0
    while (now := now + draw.expovariate(most * speed)) < DAY:
        if draw.random() < rate(now / 3600) / most:
            steps = draw.randint(*STEPS)
            jobs.append(Job(now, steps, left=steps))
    return sorted(jobs, key=lambda job: job.arrival)


def result(make: Policy, seed: int, speed: int) -> tuple[float, float]:
    """Return the device hours and the 95th percentile of the wait, without the batch at night, in seconds."""
    pool = Pool(make, speed)
    jobs = trace(seed, speed)
    pool.run(jobs)
    waits = [wait for job, wait in zip(jobs, pool.waits, strict=True) if job.steps != PREVIEW_STEPS]
    return pool.hours, float(np.percentile(waits, 95))


def plot(points: dict[str, dict[float, Any]]) -> None:
    """Plot the wait against the cost, one curve for each policy."""
    figure, (axes, day) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(3, 2))
    for name, found in points.items():
        x = [each["device_hours"]["median"] for each in found.values()]
        y = [each["p95_wait_seconds"]["median"] for each in found.values()]
        axes.plot(x, y, marker="o", label=name, linestyle="--" if name == "idle time included" else "-")
        for number, at in zip(found, zip(x, y, strict=True), strict=True):
            axes.annotate(f"{number:g}", at, textcoords="offset points", xytext=(4, 4), fontsize=7)
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("device hours a day")
    axes.set_ylabel("95th percentile of the wait, s")
    axes.legend()
    hours = np.arange(0, 24, 0.05)
    day.plot(hours, [rate(hour) for hour in hours], color="#6b7480")
    day.annotate(f"{PREVIEWS} previews", (PREVIEWS_AT, 0.02), rotation=90, fontsize=8)
    day.set_xlabel("hour")
    day.set_ylabel("jobs a second")
    cast("Any", figure).suptitle("SIMULATION of a day with the real scheduler; the numbers are each policy's target")
    save(figure, "autoscaling")


def measured(name: str, number: float, seeds: Sequence[int], speed: int = 1) -> dict[str, Any]:
    """Return cost and wait of a policy over the seeds."""
    make = POLICIES[name][0]
    found = [result(make(number), seed, speed) for seed in seeds]
    return {
        "device_hours": summary([hours for hours, _ in found]),
        "p95_wait_seconds": summary([wait for _, wait in found]),
    }


def ratio(some: dict[str, Any], other: dict[str, Any], figure: str) -> float:
    """Return how one policy's figure relates to another's."""
    return round(some[figure]["median"] / other[figure]["median"], 2)


@click.command()
@click.option("--quick", is_flag=True, help="One day instead of five, under 50 s.")
def main(quick: bool) -> None:
    """Simulate, and print the figures."""
    seeds = range(1 if quick else 5)
    points = {
        name: {number: measured(name, number, seeds) for number in numbers} for name, (_, numbers) in POLICIES.items()
    }
    plot(points)
    fast = {
        name: measured(name, number, seeds, FAST) for name, number in (("seconds of work", 60.0), ("queue length", 5))
    }
    ours = points["seconds of work"][60.0]
    wait = ours["p95_wait_seconds"]["median"]
    kept = [each for each in points["fixed"].values() if each["p95_wait_seconds"]["median"] <= wait]
    cheapest = min(kept, key=lambda each: each["device_hours"]["median"])
    changes = {
        name: {
            figure: ratio(found, points[name][60.0 if name == "seconds of work" else 5], figure) for figure in FIGURES
        }
        for name, found in fast.items()
    }
    cost = ratio(ours, cheapest, "device_hours")
    figures: dict[str, Any] = {
        "simulated": True,
        "jobs_a_day": len(trace(0, 1)),
        "cost_relative_to_the_cheapest_fixed_number_with_that_wait": cost,
        "cost_relative_to_idle_time_included": ratio(ours, points["idle time included"][60.0], "device_hours"),
        "a_model_five_times_as_fast_relative": changes,
        "policies": points,
    }
    steady = all(0.75 <= each <= 1.25 for each in changes["seconds of work"].values())
    goal = "SIMULATION: at most half the cost of a fixed number at that wait; within a quarter for a faster model"
    conclude("autoscaling", figures, goal, met=cost <= 0.5 and steady)


if __name__ == "__main__":
    main()
