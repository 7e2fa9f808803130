"""SIMULATION, not a measurement: which of 64 devices serves which of 12 models.

    python -m bench.fleet [--quick] [--calibrate]

A seeded discrete-event simulation that runs the real code of release (`FairShare`, `Window`), of a worker's fetches
(`Admission`, its queue order, `Chooser` with the policy `model_choice`), of its models (`ModelCache`, `PendingModels`)
and of its batches (`Scheduler`). The databases, the network and the models are simulated.

Half of the devices have 80 GB and are twice as fast as the others, which have 48 GB; the policy is not told this.
The models have 2 to 34 GB, load at 2 GB/s, and take longer for a step the larger they are; a batch
gains as in `bench.simulation`. Their popularity falls as 1/rank, and each model has its own hours: the rates follow a
day that is compressed into minutes, on average at 80 % of what static placement sustains at constant rates, beyond
which its waits grow (`--calibrate`). Loading is not compressed, which favours static placement. Six tenants of
different rates submit jobs of 4 to 50 steps.

- ours: a worker serves its loaded models, and loads another one once that model's jobs have waited for longer, by the
  cost of the switch.
- no affinity: every worker takes jobs of every model in turn; it unloads the least recently used model.
- least recently used: loaded models first; if none of their jobs waits, the model whose job has waited longest is
  loaded at once.
- static: the models of each device are fixed, from the day's mean demand, as many as fit; the most demanded models are
  on the most devices.

A wait lasts from a job's arrival to its first step. All policies use the same jobs. Goal: p95 wait at most 0.6 of
static placement's, and at most half the switches of least recently used.
"""

from __future__ import annotations

import logging
import math
import random
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count
from typing import Any, Final, cast

import click
import numpy as np
import structlog
from matplotlib import pyplot as plt

from bench.common import LINE, OURS, THEIRS, conclude, save, summary
from bench.fleet_devices import (
    BYTES,
    GIB,
    MEMORY,
    MODELS,
    PACE,
    SPEED,
    Device,
    Job,
    LeastRecentlyUsed,
    Ours,
    Queues,
)
from bench.simulation import SPEEDUPS, STEPS
from limner_worker.generators import device_faults
from limner_worker.runtime.placement import LOOK_SECONDS

DEVICES: Final = 64
TENANTS: Final = {"one": 8, "two": 4, "three": 2, "four": 1, "five": 1, "six": 1}
SUSTAINED: Final = 0.66
"""The most that static placement sustains at constant rates, relative to the capacity with full batches: several models
share a device, so that batches are seldom full. At 0.6 waits are constant, at 0.7 they grow."""
LOAD: Final = 0.8 * SUSTAINED
SWING: Final = 0.7
"""A model's rate varies by this share of its mean in the course of the day."""
ROUND_SECONDS: Final = 0.25
"""The interval of the dispatcher's rounds."""


@dataclass
class Outcome:
    """What a policy did with the jobs of one trace."""

    waits: list[float]
    by_model: dict[str, float]
    by_tenant: dict[str, float]
    switches: int
    busy: float
    longest: float = field(init=False)

    def __post_init__(self) -> None:
        self.longest = max(self.waits)

    @property
    def p95(self) -> float:
        """The 95th percentile of the waits, in seconds."""
        return float(np.percentile(self.waits, 95))


def capacity() -> float:
    """Jobs a second of all devices with full batches, for the mean mix of models."""
    popularity = shares()
    gain = max(SPEEDUPS.values())
    seconds = sum(popularity[model] * PACE[model] for model in MODELS) * sum(STEPS) / 2 / gain
    return DEVICES * sum(SPEED) / len(SPEED) / seconds


def shares() -> dict[str, float]:
    """The share of each model in the day's jobs."""
    weights = {model: 1 / (rank + 1) for rank, model in enumerate(MODELS)}
    return {model: weight / sum(weights.values()) for model, weight in weights.items()}


def trace(seed: int, seconds: float, load: float, swing: float = SWING) -> list[Job]:
    """Return a day's jobs: Poisson arrivals, whose rate by model follows the hour by `swing`."""
    draw = random.Random(f"fleet {seed}")  # noqa: S311 - the same trace in every run
    rate, popularity = load * capacity(), shares()
    phases = {model: draw.random() for model in MODELS}
    jobs: list[Job] = []
    now = 0.0
    tenants, weights = list(TENANTS), list(TENANTS.values())
    while now < seconds:
        now += draw.expovariate(rate * (1 + swing))
        model = draw.choices(MODELS, list(popularity.values()))[0]
        hour = 1 + swing * math.sin(2 * math.pi * (now / seconds + phases[model]))
        if draw.random() * (1 + swing) < hour:
            steps = draw.randint(*STEPS)
            jobs.append(Job(now, draw.choices(tenants, weights)[0], model, steps, steps))
    return jobs


def fixed_models() -> list[list[str]]:
    """Return the models of each device: always the one with the most demand for each of its places so far."""
    demand = {model: share * PACE[model] for model, share in shares().items()}
    places = dict.fromkeys(MODELS, 0.0)
    placed: list[list[str]] = []
    for number in range(DEVICES):
        room, found = MEMORY[number % 2] * GIB, list[str]()
        for model in sorted(MODELS, key=lambda model: -demand[model] / (places[model] + 0.01)):
            if BYTES[model] <= room:
                room -= BYTES[model]
                found.append(model)
                places[model] += SPEED[number % 2]
        placed.append(found)
    return placed


Fleet = Callable[[Queues], list[Device]]
POLICIES: Final[Mapping[str, Fleet]] = {
    "ours": lambda queues: [Ours(number, queues) for number in range(DEVICES)],
    "static": lambda queues: [Device(number, queues, models) for number, models in enumerate(fixed_models())],
    "least recently used": lambda queues: [LeastRecentlyUsed(number, queues) for number in range(DEVICES)],
    "no affinity": lambda queues: [Device(number, queues) for number in range(DEVICES)],
}


def simulate(make: Fleet, jobs: Sequence[Job]) -> Outcome:
    """Run a trace to its last job."""
    queues = Queues()
    fleet = make(queues)
    idle = dict.fromkeys(range(DEVICES))  # the one that is idle for longest first
    order = count()
    events: list[tuple[float, int, int]] = []  # when which device is free; -1: the dispatcher's round
    heappush(events, (0.0, next(order), -1))
    looks = [number * LOOK_SECONDS / DEVICES for number in range(DEVICES)]
    arrivals = deque(jobs)
    for now, number in _times(events):
        while arrivals and arrivals[0].arrival <= now:
            queues.submit(arrivals.popleft())
        if number < 0:
            queues.release(now)
            if arrivals or len(idle) < DEVICES or any(queues.lists.values()):
                heappush(events, (now + ROUND_SECONDS, next(order), -1))
            tried = list(idle)
        else:
            tried = [number]
        for each in tried:
            if looks[each] <= now:
                looks[each] = now + LOOK_SECONDS
                fleet[each].look(now)
            end = fleet[each].work(now)
            idle.pop(each, None)
            if end is None:
                idle[each] = None
            else:
                heappush(events, (end, next(order), each))
    return _outcome(jobs, fleet)


def _times(events: list[tuple[float, int, int]]) -> Iterator[tuple[float, int]]:
    while events:
        now, _, number = heappop(events)
        yield now, number


def _outcome(jobs: Sequence[Job], fleet: Sequence[Device]) -> Outcome:
    counted = jobs[len(jobs) // 10 :]
    unfinished = sum(job.left > 0 for job in jobs)
    if unfinished:
        raise AssertionError(f"{unfinished} jobs were never finished")
    by_model: dict[str, list[float]] = {}
    by_tenant: dict[str, list[float]] = {}
    for job in counted:
        by_model.setdefault(job.model, []).append(job.started - job.arrival)
        by_tenant.setdefault(job.tenant, []).append(job.started - job.arrival)
    return Outcome(
        [job.started - job.arrival for job in counted],
        {model: float(np.percentile(by_model[model], 95)) for model in sorted(by_model)},
        {tenant: float(np.percentile(by_tenant[tenant], 95)) for tenant in TENANTS if tenant in by_tenant},
        sum(device.switches for device in fleet),
        sum(device.busy for device in fleet) / len(fleet),
    )


def plot(outcomes: Mapping[str, Outcome]) -> None:
    """Plot p95 waits and switches of each policy."""
    figure, (waits, switches) = plt.subplots(1, 2, figsize=(9, 2.6), sharey=True)
    colours = [OURS, *[THEIRS] * (len(outcomes) - 1)]
    waits.barh(list(outcomes), [outcome.p95 for outcome in outcomes.values()], color=colours)
    switches.barh(list(outcomes), [outcome.switches for outcome in outcomes.values()], color=colours)
    waits.set_xlabel("p95 wait, seconds")
    switches.set_xlabel("switches")
    waits.invert_yaxis()  # ours on top
    cast("Any", figure).suptitle("SIMULATION of 64 devices and 12 models", color=LINE)
    save(figure, "fleet")


@click.command()
@click.option("--quick", is_flag=True, help="A shorter day.")
@click.option("--calibrate", is_flag=True, help="Print the waits of static placement at constant rates, and end.")
def main(quick: bool, calibrate: bool) -> None:
    """Simulate, and print the figures."""
    # Each eviction collects garbage, which takes longer than a simulated minute.
    device_faults.release_cached_memory = lambda: None
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    if calibrate:
        for load in (0.5, 0.6, 0.7, 0.8):
            waits = simulate(POLICIES["static"], trace(1, 300, load, swing=0)).waits
            quarters = [round(float(np.mean(part)), 2) for part in np.array_split(waits, 4)]
            click.echo(f"load {load}: mean wait in each quarter, in seconds: {quarters}")
        return
    seconds = 300 if quick else 2400
    outcomes = {name: simulate(make, trace(1, seconds, LOAD)) for name, make in POLICIES.items()}
    plot(outcomes)
    ours, static, recent = outcomes["ours"], outcomes["static"], outcomes["least recently used"]
    figures: dict[str, Any] = {
        "simulated": True,
        "wait_s": {name: summary(outcome.waits) | {"p95": outcome.p95} for name, outcome in outcomes.items()},
        "longest_s": {name: outcome.longest for name, outcome in outcomes.items()},
        "switches": {name: outcome.switches for name, outcome in outcomes.items()},
        "p95_by_model": {name: outcome.by_model for name, outcome in outcomes.items()},
        "p95_by_tenant": {name: outcome.by_tenant for name, outcome in outcomes.items()},
    }
    met = ours.p95 <= 0.6 * static.p95 and ours.switches <= recent.switches / 2
    conclude("fleet", figures, "SIMULATION: p95 wait 0.6 of static; half the switches of LRU", met=met)


if __name__ == "__main__":
    main()
