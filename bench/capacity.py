"""The processor time of each process for each job, poll and heartbeat, and so what one of each carries.

    python -m bench.capacity [--quick]

The whole service with the null model on PostgreSQL, measured by the processors' own counters, so that a busy machine
changes the figures little. Each kind of work is done by itself: jobs of a bulk, jobs submitted one by one, polls that
find their job changed, and renewals of leases. What the idle service costs in the same time is taken off. The
dispatcher leads alone and Valkey has one thread, so each carries what one core carries; PostgreSQL and web processes
grow with cores.
Rounds repeat each kind; the goal only asks for figures that repeat: a spread within a third of the median.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import click
import httpx
import psutil
from sqlalchemy import text

from bench.common import NULL_CARD, cpu_seconds, postgres, redis_client, report, running_stack, summary
from bench.control_plane import ours
from limner_client.client import Client
from limner_client.local.stack import Stack
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger.types import AttemptKey

PARTS: Final = ("web", "dispatcher", "worker", "valkey", "postgresql")
THREADS: Final = 8
HELD: Final = 16
"""Leases that a busy worker renews at a time."""
HEARTBEAT_SECONDS: Final = 2.0
Times = dict[str, float]


class Meter:
    """The processor time of the service's processes, by part."""

    def __init__(self, stack: Stack, database: Database) -> None:
        with database.read() as session:
            folder = Path(session.execute(text("SHOW data_directory")).scalar_one())
        children = {service.name: service.child for service in stack.services}
        pids = {name: child.pid for name, child in children.items() if child is not None}
        with redis_client(stack.redis_url) as redis:
            pids["valkey"] = int(redis.info("server")["process_id"])
        pids["postgresql"] = int(folder.joinpath("postmaster.pid").read_text().split()[0])
        self._processes = {part: psutil.Process(pids[part]) for part in PARTS}

    def read(self) -> Times:
        """Return the seconds of each part until now."""
        return {part: cpu_seconds(process) for part, process in self._processes.items()}

    @contextmanager
    def per(self, count: int, found: list[Times], idle: Times) -> Iterator[None]:
        """Add the milliseconds of each part for each of `count` units of what the block does; `idle` are those of a
        second in which nothing is done.
        """
        before, started = self.read(), time.perf_counter()
        yield
        after, seconds = self.read(), time.perf_counter() - started
        spent = {part: 1000 * (after[part] - before[part]) - seconds * idle.get(part, 0.0) for part in PARTS}
        found.append({part: max(0.0, each) / count for part, each in spent.items()})


def singles(url: str, database: Database, count: int) -> None:
    """Submit jobs one by one from several clients, and wait until all have ended."""

    def some(number: int) -> None:
        with Client(url) as client:
            for each in range(count // THREADS):
                client.submit({"prompt": f"picture {number} {each}"})

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(some, range(THREADS)))
    unfinished = text("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')")
    while True:
        with database.read() as session:
            if not session.scalar(unfinished):
                return
        time.sleep(0.2)


def polls(url: str, job_id: str, count: int) -> None:
    """Read a job without an ETag, as a client does that has not seen its newest state."""
    with httpx.Client(base_url=url, trust_env=False) as client:
        for _ in range(count):
            client.get(f"/api/v1/jobs/{job_id}").raise_for_status()


def renewals(database: Database, count: int) -> None:
    """Look for the leases of a busy worker as its renewal does. The jobs do not run, so that nothing is written."""
    keys = [AttemptKey(f"job_{number:026d}", 1) for number in range(HELD)]
    for _ in range(count):
        with database.write() as session:
            ledger.renew(session, keys, 9.0)


def bulk(client: Client, count: int) -> Callable[[], object]:
    """Return what runs a bulk to its end."""
    return lambda: ours(client, count)


def medians(found: list[Times]) -> Times:
    """Return the median of each part."""
    return {part: summary([each[part] for each in found])["median"] for part in PARTS}


def carried(milliseconds: Mapping[str, float]) -> dict[str, int]:
    """Return the jobs a second that one core of each part carries."""
    return {part: round(1000 / each) for part, each in milliseconds.items() if each > 0}


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds and jobs, under 60 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, count, one_by_one, polled, idle = (3, 1500, 240, 400, 4) if quick else (7, 10_000, 2000, 4000, 30)
    kinds: dict[str, list[Times]] = {"bulk": [], "single": [], "poll": [], "renewal": [], "idle": []}
    with ExitStack() as at_end:
        url = at_end.enter_context(postgres())
        options: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "slots": 512}
        stack = at_end.enter_context(running_stack(database_url=url, log_level="warning", **options))
        client = at_end.enter_context(Client(stack.url))
        database = Database(url)
        at_end.callback(database.dispose)
        meter = Meter(stack, database)
        ours(client, 200)
        [*_, job] = client.wait(client.submit({"prompt": "a red apple"}).id)
        work: dict[str, tuple[int, Callable[[], object]]] = {
            "bulk": (count, bulk(client, count)),
            "single": (one_by_one, lambda: singles(stack.url, database, one_by_one)),
            "poll": (polled, lambda: polls(stack.url, job.id, polled)),
            "renewal": (polled, lambda: renewals(database, polled)),
        }
        for _ in range(rounds):
            with meter.per(idle, kinds["idle"], {}):
                time.sleep(idle)
            for kind, (units, do) in work.items():
                with meter.per(units, kinds[kind], kinds["idle"][-1]):
                    do()
    figures: dict[str, Any] = {f"milliseconds_per_{kind}": medians(found) for kind, found in kinds.items()}
    figures["jobs_per_second_of_a_core"] = {kind: carried(medians(kinds[kind])) for kind in ("bulk", "single")}
    figures["busy_workers_of_a_core_of_postgresql"] = round(
        1000 * HEARTBEAT_SECONDS / medians(kinds["renewal"])["postgresql"]
    )
    totals = [sum(each.values()) for each in kinds["bulk"]]
    spread = (max(totals) - min(totals)) / summary(totals)["median"]
    bars = {part: [each[part] for each in kinds["single"]] for part in PARTS}
    unit = "milliseconds of a processor for a job submitted by itself"
    report("capacity", figures, "the figures of a bulk repeat within a third", met=spread < 1 / 3, bars=bars, unit=unit)


if __name__ == "__main__":
    main()
