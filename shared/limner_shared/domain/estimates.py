"""When a job will be finished, from how long the latest jobs of its model took. No I/O."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Final, NamedTuple

LEAST_JOBS: Final = 5
"""Fewer finished jobs say nothing about the next ones."""
NORMAL_P90: Final = 1.28
"""The 90th percentile of the standard normal distribution."""
SLOWEST: Final = 0.25
"""The 90th percentile never assumes less than this part of the measured rate."""
ALIKE: Final = 2
"""Jobs that cost up to this many times more or less are taken to need about the same time."""


class FinishedRun(NamedTuple):
    """One finished job: when its attempt began and ended, in seconds, and its cost units."""

    started_at: float
    finished_at: float
    cost: int


@dataclass(frozen=True, slots=True)
class Rate:
    """What a model's latest jobs tell: jobs per second while any of them ran, and the quantiles of a job's seconds."""

    jobs: int
    """How many were measured."""
    per_second: float
    """Jobs a second."""
    median_seconds: float
    p90_seconds: float


def measure(runs: Sequence[FinishedRun]) -> Rate | None:
    """The rate of finished jobs; None if there are too few.

    The time in which none ran is left out, so that a service that was idle is not taken for a slow one.
    """
    if len(runs) < LEAST_JOBS:
        return None
    busy = 0.0
    until = -math.inf
    for start, end, _ in sorted(runs):
        busy += max(0.0, end - max(start, until))
        until = max(until, end)
    parts = quantiles([end - start for start, end, _ in runs], n=10, method="inclusive")
    return Rate(len(runs), len(runs) / max(busy, 0.001), parts[4], parts[8])


def bulk_seconds(runs: Sequence[FinishedRun], cost: int, ahead: int) -> tuple[float, float] | None:
    """The median and the 90th percentile of the seconds until jobs of this cost together are finished.

    They go at the rate of cost units of the finished jobs, and the `ahead` jobs before them at that of jobs. None if
    too few were finished.
    """
    rate = measure(runs)
    units = sum(run.cost for run in runs)
    if rate is None or not units:
        return None
    as_jobs = cost * rate.jobs / units
    median = (ahead + as_jobs) / rate.per_second
    return median, median / max(SLOWEST, 1 - NORMAL_P90 / math.sqrt(rate.jobs))


def alike(runs: Sequence[FinishedRun], cost: int) -> list[FinishedRun]:
    """The finished jobs that cost about as much: a job of many pictures takes longer than most."""
    return [run for run in runs if cost <= run.cost * ALIKE and run.cost <= cost * ALIKE]


def quantile(part: float, within: Sequence[int], bounds: Sequence[float], total: int) -> float | None:
    """The time within which this part of `total` jobs was finished, or None if there were none.

    `within` counts those that took at most each of `bounds`, in seconds. Between two bounds it is interpolated; beyond
    the last one it is that bound.
    """
    if not total:
        return None
    wanted, below, low = part * total, 0, 0.0
    for count, bound in zip(within, bounds, strict=True):
        if count >= wanted:
            share = (wanted - below) / (count - below) if count > below else 1.0
            return low + (bound - low) * share
        below, low = count, bound
    return bounds[-1]


def seconds_left(rate: Rate, ahead: int, elapsed: float = 0.0) -> tuple[float, float]:
    """The median and the 90th percentile of the seconds until a job is finished, with `ahead` jobs before it.

    `elapsed` is how long it has run. The number of jobs that finish in a time varies about as a Poisson variable, so
    the measured rate has a relative error of one over the root of the number of jobs.
    """
    slow = rate.per_second * max(SLOWEST, 1 - NORMAL_P90 / math.sqrt(rate.jobs))
    median = ahead / rate.per_second + max(0.0, rate.median_seconds - elapsed)
    return median, max(median, ahead / slow + max(0.0, rate.p90_seconds - elapsed))
