"""Cost of the service and its engine on top of the model, and memory growth.

    python -m bench.engine [--quick]

Throughput: a bulk through the whole service (SQLite, the built-in model, default settings), from submission to the end
of the last job, against the same jobs in fixed batches, run by `start`, `step` and `decode` in this process with the
best of the card's batch sizes and the same number of threads. The direct side encodes no PNG and stores nothing.
Goal: at least 0.95 of its rate.
Mixed: a bulk with as many jobs and total steps, but each job with its own number of steps and guidance.
Goal: at least 0.9 of the uniform bulk's steps per second.
Overhead: the engine alone with the null model in batches of 8, time per step of one row. Goal: at most 0.3 ms.
Checkpoints: the engine's time for checkpoints of all jobs, as a share of the checkpoint interval. Goal: at most 1 %.
Memory: the resident memory of a worker with the null model after its first 1,000 jobs and after all, for five workers
in turn. Goal: less than 5 % growth. (It levels off: from 20,000 to 30,000 jobs it grows by 1 %.)
Direct, uniform and mixed runs alternate round by round, never concurrently.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final

import click
import psutil

from bench.common import NULL_CARD, begin, draw, report, running_stack, summary
from limner_client.client import Client
from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import Catalogue, load_card
from limner_shared.domain.jobs import JobRequest, JobSpec, Lane
from limner_shared.errors import LimnerError
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators.base import Generator, Picture
from limner_worker.generators.model_cache import ModelCache
from limner_worker.generators.registry import load

SERVICE_GOAL, MIXED_GOAL, OVERHEAD_GOAL_MS, GROWTH_GOAL, KEEP_GOAL = 0.95, 0.9, 0.3, 0.05, 0.01
BATCH: Final = 8
POLL_SECONDS: Final = 0.05


@dataclass(frozen=True)
class Sizes:
    """Sizes of the measurement."""

    rounds: int
    jobs: int  # even
    steps: tuple[int, int]  # of the mixed bulk; their sum is even
    memory_jobs: int


def uniform(sizes: Sizes) -> list[dict[str, Any]]:
    """Return jobs with equal numbers of steps."""
    steps = sum(sizes.steps) // 2
    return [{"prompt": f"a red apple {number}", "seed": number, "steps": steps} for number in range(sizes.jobs)]


def mixed(sizes: Sizes) -> list[dict[str, Any]]:
    """Return as many jobs and total steps as `uniform`, with varying steps; pairs of jobs have a constant sum."""
    choose = random.Random(7)  # noqa: S311 - the same trace in every run
    low, high = sizes.steps
    halves = [choose.randint(low, high) for _ in range(sizes.jobs // 2)]
    steps = halves + [low + high - one for one in halves]
    choose.shuffle(steps)
    return [
        {"prompt": f"a red apple {number}", "seed": number, "steps": one, "guidance": round(choose.uniform(1, 8), 2)}
        for number, one in enumerate(steps)
    ]


# --- the service, and the model called directly ---


def served(client: Client, requests: Sequence[dict[str, Any]]) -> float:
    """Return the seconds from a bulk's submission until all its jobs have ended."""
    lines = "".join(json.dumps(request) + "\n" for request in requests)
    started = time.perf_counter()
    bulk = client.submit_bulk(BytesIO(lines.encode()))
    while bulk.ended < len(requests):
        time.sleep(POLL_SECONDS)
        bulk = client.bulk(bulk.id)
    if bulk.counts["succeeded"] != len(requests):
        raise SystemExit(f"not all jobs succeeded: {bulk.counts}")
    return time.perf_counter() - started


def direct(generator: Generator, specs: Sequence[JobSpec], batch: int) -> float:
    """Return the seconds of the same jobs in fixed batches, until the last pixels."""
    started = time.perf_counter()
    for first in range(0, len(specs), batch):
        draw(generator, specs[first : first + batch])
    return time.perf_counter() - started


def best_batch(generator: Generator, specs: Sequence[JobSpec]) -> int:
    """Return the card's batch size with the least time per job in the direct loop."""
    largest = max(generator.card.buckets)
    few = [spec.model_copy(update={"steps": 6}) for spec in specs[:largest]]
    direct(generator, few, largest)  # warm-up
    return min(generator.card.buckets, key=lambda batch: direct(generator, few, batch))


def throughput(sizes: Sizes) -> tuple[dict[str, list[float]], int]:
    """Return row-steps per second of the direct loop and of both bulks, and the direct batch size."""
    catalogue = Catalogue.load([], "limner-flow")
    generator = load(catalogue.get(None), Settings(device="cpu"))
    requests = uniform(sizes)
    specs = [catalogue.resolve(JobRequest(**request))[1] for request in requests]
    steps = sum(spec.steps for spec in specs)
    batch = best_batch(generator, specs)
    found: dict[str, list[float]] = {"direct": [], "uniform": [], "mixed": []}
    with running_stack(device="cpu", log_level="warning") as stack, Client(stack.url) as client:
        served(client, [request | {"steps": 2} for request in requests])  # fills the text caches on both sides
        for _ in range(sizes.rounds):
            found["direct"].append(steps / direct(generator, specs, batch))
            found["uniform"].append(steps / served(client, requests))
            found["mixed"].append(steps / served(client, mixed(sizes)))
    return found, batch


# --- the engine alone ---


class Ended:
    """A listener that counts the jobs' ends; `all` is set after the last."""

    def __init__(self, jobs: int) -> None:
        self._left = jobs
        self.all = threading.Event()

    def progressed(self, job: JobRun) -> None:
        """Ignore progress."""

    def previewed(self, job: JobRun, picture: Picture) -> None:
        """Ignore previews."""

    def checkpointed(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        """Ignore checkpoints."""

    def generated(self, jobs: Sequence[JobRun]) -> None:
        """Count the jobs."""
        self._left -= len(jobs)
        if not self._left:
            self.all.set()

    def failed(self, job: JobRun, error: LimnerError) -> None:
        """Raise the error: the null model never fails."""
        raise error

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        """Raise an error: the null model is always available."""
        raise RuntimeError(reason)


def overhead_ms(steps: int) -> float:
    """Return milliseconds per step of one row, in batches of 8 of a worker's slots, without a model."""
    card = load_card(NULL_CARD).model_copy(update={"buckets": (BATCH,)})
    generator = load(card, Settings(device="cpu"))
    spec = card.resolve(JobRequest(prompt="nothing", steps=steps))
    claims = [
        Claim(id=str(n), tenant_id="bench", bulk_id=None, attempt=1, version=2, lane=Lane.LOW, spec=spec)
        for n in range(Settings.model_fields["slots"].default)
    ]
    ended = Ended(len(claims))
    engine = Engine(ModelCache([card], lambda _card: generator), ended, Supervisor())
    engine.submit([JobRun(claim, lambda: None) for claim in claims])
    started = time.perf_counter()
    engine.start()
    ended.all.wait()
    seconds = time.perf_counter() - started
    engine.stop()
    return 1000 * seconds / (steps * len(claims))


def checkpoint_share() -> float:
    """Return the engine's time for checkpoints of all jobs of a worker, as a share of the checkpoint interval."""
    card = Catalogue.load([], "limner-flow").get(None)
    generator = load(card, Settings(device="cpu"))
    settings = Settings.model_fields
    specs = [card.resolve(JobRequest(prompt=f"a red apple {number}")) for number in range(max(card.buckets))]
    states = begin(generator, specs)
    generator.step(states)
    started = time.perf_counter()
    kept = [state.checkpoint() for state in states]
    seconds = (time.perf_counter() - started) * settings["slots"].default / len(kept)
    return seconds / settings["checkpoint_seconds"].default


# --- memory ---


def memory_mb(jobs: int) -> list[float]:
    """Return a worker's resident memory in MB after every 1,000 jobs of the null model."""
    found: list[float] = []
    null: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning", "slots": 512}
    with running_stack(**null) as stack, Client(stack.url) as client:
        [worker] = [child for child in psutil.Process().children(recursive=True) if "worker" in child.cmdline()]
        for first in range(0, jobs, 1000):
            served(client, [{"prompt": f"picture {number}"} for number in range(first, first + 1000)])
            found.append(round(worker.memory_info().rss / 1e6, 1))
    return found


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds and jobs, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    sizes = Sizes(1, 16, (4, 20), 2_000) if quick else Sizes(7, 64, (4, 50), 10_000)
    overhead = [overhead_ms(500) for _ in range(7)]
    memory = [memory_mb(sizes.memory_jobs) for _ in range(1 if quick else 5)]
    rates, batch = throughput(sizes)
    service = [b / a for a, b in zip(rates["direct"], rates["uniform"], strict=True)]
    mix = [b / a for a, b in zip(rates["uniform"], rates["mixed"], strict=True)]
    figures: dict[str, Any] = {
        "direct_batch": batch,
        **{f"{name}_row_steps_per_s": summary(found) for name, found in rates.items()},
        "service_over_direct": summary(service),
        "mixed_over_uniform": summary(mix),
        "overhead_ms_per_row_step": summary(overhead),
        "checkpoint_share_of_time": summary([checkpoint_share() for _ in range(5)]),
        "worker_mb_by_1000_jobs": memory[0],
        "memory_growth": summary([found[-1] / found[0] - 1 for found in memory]),
    }
    met = (
        figures["service_over_direct"]["median"] >= SERVICE_GOAL
        and figures["mixed_over_uniform"]["median"] >= MIXED_GOAL
        and figures["overhead_ms_per_row_step"]["median"] <= OVERHEAD_GOAL_MS
        and figures["checkpoint_share_of_time"]["median"] <= KEEP_GOAL
        and figures["memory_growth"]["median"] < GROWTH_GOAL
    )
    goal = (
        f"service at least {SERVICE_GOAL} of direct; mixed at least {MIXED_GOAL} of uniform; "
        f"engine at most {OVERHEAD_GOAL_MS} ms a row-step; memory grows less than {GROWTH_GOAL:.0%}"
    )
    bars = {"service / direct": service, "mixed / uniform": mix}
    report("engine", figures, goal, met=met, bars=bars, unit="ratio of row-steps a second")


if __name__ == "__main__":
    main()
