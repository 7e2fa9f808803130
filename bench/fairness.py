"""Latency of a single job beside another tenant's backlog, and shares by weight.

    python -m bench.fairness [--quick]

Waiting: one tenant has 100,000 jobs of the built-in model queued, with the same priority as another tenant's single
jobs. Alternately, the backlog is paused and a single job is timed on the idle service, then resumed and one is timed
under load. Goal: under load at most twice the idle time plus one step of a full batch, which may be running on arrival.
Shares: three tenants of weights 1, 2 and 4 have backlogs, far longer than the release window, of null-model jobs of
very different cost. Goal: each tenant's share of the released cost units is within 5 % of its weight's share.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from statistics import median
from typing import Any, Final

import click
from sqlalchemy import func, select, text

from bench.common import NULL_CARD, begin, report, running_stack, summary
from limner_client.client import Client
from limner_client.local.stack import Stack
from limner_shared.db.accounts import keys, tenants
from limner_shared.db.engine import Database
from limner_shared.db.tables import WAITING, Job, Tenant
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState
from limner_shared.domain.views import BulkView
from limner_shared.settings import Settings
from limner_worker.generators.registry import load

WEIGHTS: Final = {"one": 1.0, "two": 2.0, "four": 4.0}
TOLERANCE: Final = 0.05
WINDOW: Final = 128
"""Released jobs are served in their order, so weights decide only about jobs beyond the release window."""


def step_seconds() -> float:
    """Return the seconds of one step of the largest batch."""
    card = Catalogue.load([], "limner-flow").get(None)
    generator = load(card, Settings(device="cpu"))
    specs = [card.resolve(JobRequest(prompt=f"a red apple {number}")) for number in range(max(card.buckets))]
    states = begin(generator, specs)
    times: list[float] = []
    for _ in range(7):
        started = time.perf_counter()
        generator.step(states)
        times.append(time.perf_counter() - started)
    return median(times)


@contextmanager
def clients(stack: Stack, names: list[str]) -> Iterator[list[Client]]:
    """Create the tenants; yields a client with its own key for each."""
    database = Database(stack.settings.resolved_database_url)
    with database.write() as session:
        made = [keys.create(session, name, "bench") for name in names]
    database.dispose()
    with ExitStack() as open_:
        yield [open_.enter_context(Client(stack.url, key)) for key in made]


def bulk(client: Client, requests: Iterator[dict[str, Any]]) -> BulkView:
    """Submit a bulk."""
    return client.submit_bulk(BytesIO("".join(json.dumps(request) + "\n" for request in requests).encode()))


def timed(client: Client, number: int) -> float:
    """Return the seconds from a single job's submission to its image."""
    started = time.perf_counter()
    job = client.submit({"prompt": f"a green pear {number}"})
    while not job.status.terminal:
        job = client.job(job.id, wait_seconds=25)
    return time.perf_counter() - started


def waiting(rounds: int, queued: int) -> tuple[list[float], list[float]]:
    """Return the seconds of single jobs on the idle service, and with another tenant's backlog."""
    idle: list[float] = []
    loaded: list[float] = []
    with running_stack(require_keys=True, log_level="warning") as stack, clients(stack, ["large", "small"]) as found:
        large, small = found
        timed(small, 0)
        backlog = bulk(large, ({"prompt": f"a red apple {n}", "priority": "normal"} for n in range(queued)))
        for number in range(rounds):
            large.pause_bulk(backlog.id)
            wait_for(large, backlog.id, lambda view: view.counts["running"] == 0)
            idle.append(timed(small, 2 * number))
            large.resume_bulk(backlog.id)
            wait_for(large, backlog.id, lambda view: view.counts["running"] >= 8)
            time.sleep(random.uniform(0, 1))  # noqa: S311 - a random point of the running batch
            loaded.append(timed(small, 2 * number + 1))
    return idle, loaded


def wait_for(client: Client, bulk_id: str, ready: Callable[[BulkView], bool]) -> None:
    """Wait until a bulk's view meets a condition."""
    while not ready(client.bulk(bulk_id)):
        time.sleep(0.1)


def shares(jobs: int) -> dict[str, float]:
    """Return each tenant's share of the cost units started while all three had jobs waiting for release.

    Not from the beginning: the first tenant finds the window empty and fills it, regardless of its weight. The
    queues are left to empty until a quarter of the heaviest tenant's jobs have ended.
    """
    draw = random.Random(7)  # noqa: S311 - the same costs in every run
    null: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning"}
    null |= {"slots": 128, "max_release_window": WINDOW, "require_keys": True}
    with running_stack(**null) as stack, clients(stack, list(WEIGHTS)) as found:
        database = Database(stack.settings.resolved_database_url)
        with database.write() as session:
            for name, weight in WEIGHTS.items():
                tenants.change_tenant(session, name, {"weight": weight})
        bulks = [
            bulk(client, ({"prompt": "x", "steps": draw.choice([1, 2, 5, 20])} for _ in range(jobs)))
            for client in found
        ]
        wait_for(found[-1], bulks[-1].id, lambda view: view.ended >= jobs // 4)
        begun = started_cost(database)
        wait_for(found[-1], bulks[-1].id, lambda view: view.ended >= jobs * 3 // 4)
        done = {name: cost - begun[name] for name, cost in started_cost(database).items()}
        database.dispose()
    return {name: done[name] / sum(done.values()) for name in WEIGHTS}


def started_cost(database: Database) -> dict[str, int]:
    """Return the cost units of each tenant's started jobs. Raises RuntimeError if a tenant has no waiting job."""
    waits = func.count(Job.id).filter(text(WAITING))
    cost = func.coalesce(func.sum(Job.cost).filter(Job.state != JobState.QUEUED), 0)
    query = select(Tenant.name, cost, waits).join(Job, Job.tenant_id == Tenant.id).group_by(Tenant.name)
    with database.read() as session:
        rows = session.execute(query).all()
    if any(row[2] == 0 for row in rows):
        raise RuntimeError("a tenant has no waiting job left: measure with more jobs")
    return {row[0]: row[1] for row in rows}


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds and jobs, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, queued, jobs = (3, 3_000, 1_000) if quick else (15, 100_000, 6_000)
    step = step_seconds()
    idle, loaded = waiting(rounds, queued)
    found = shares(jobs)
    expected = {name: weight / sum(WEIGHTS.values()) for name, weight in WEIGHTS.items()}
    off = max(abs(found[name] / expected[name] - 1) for name in WEIGHTS)
    bound = 2 * median(idle) + step
    figures = {
        "queued_by_the_other": queued,
        "idle_s": summary(idle),
        "loaded_s": summary(loaded),
        "step_s": round(step, 4),
        "bound_s": round(bound, 4),
        "shares": {name: round(share, 4) for name, share in found.items()},
        "shares_off_by": round(off, 4),
    }
    met = median(loaded) <= bound and off <= TOLERANCE
    goal = "loaded at most 2 x idle and one step; shares within 5 %"
    report("fairness", figures, goal, met=met, bars={"idle": idle, "under load": loaded}, unit="seconds")


if __name__ == "__main__":
    main()
