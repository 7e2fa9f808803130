"""Rounds of chaos: 200 jobs, a few random faults, and the oracle.

    python -m tests.chaos.run [--rounds 20] [--database postgresql|sqlite|both] [--seed N] [--fault NAME]…

The seed and the round's number determine its faults, so that `--seed S --only R` repeats one round. Besides the jobs, a
round checks that the clients that waited were told, that no process ended by itself, that each bulk is complete or
gone, and that the dispatchers have no failing item.
"""

from __future__ import annotations

import json
import random
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
from sqlalchemy import delete, select

from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database
from limner_shared.db.tables import Bulk, Event, IdempotencyKey, Image, Job
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEvent
from limner_shared.domain.replay import SHARED_WITH
from limner_web.updates.tail import TAIL_SECONDS
from tests.chaos.faults import FAULTS
from tests.chaos.listeners import CONNECT_SECONDS, EventReader, LongPoller, ended_jobs, wait_until_heard
from tests.chaos.oracle import Watcher, violations
from tests.chaos.poison import heal, late_jobs
from tests.chaos.processes import unexpected_ends
from tests.chaos.rest import insist, wait_for_bulks, wait_for_dispatchers, wait_for_jobs
from tests.chaos.servers import Disk, in_background, new_service
from tests.chaos.surroundings import jobs_from_beside, jobs_of_the_previous_release
from tests.chaos.traffic import Traffic
from tests.chaos.webhooks import Shop, wait_for_deliveries, webhook_violations
from tests.chaos.world import World
from tests.processes import eventually

RECOVERED_SECONDS = 12.0
RENUMBERED_SECONDS = TAIL_SECONDS + 1
"""SQLite gives the ids of deleted events again. Open streams notice within TAIL_SECONDS that their newest is gone;
until then they would miss new events whose hints are lost. A service deletes its newest events only with their jobs.
"""
KINDS = ("postgresql", "sqlite")


def build(folder: Path, kind: str, seed: int) -> World:
    """Create a service of real processes with its own servers."""
    service, redis, store = new_service(folder, kind, web_workers=1)
    disk = Disk(folder / "data" / "blobs")
    return World(service, redis, store, disk, Shop(service.database), random.Random(seed))


def one_round(world: World, number: int, names: tuple[str, ...]) -> dict[str, Any]:
    """Run one round: traffic, faults, recovery and checks. Deduplication is on in odd rounds. Returns the report."""
    chosen = [fault for fault in FAULTS if fault.__name__ in names] or world.random.sample(
        FAULTS, world.random.randint(1, 4)
    )
    world.begin_round()
    with world.service.database.write() as session:
        tenants.change_tenant(session, "local", {"share_results": number % 2 == 1})
    watcher = Watcher(world.service.database)
    traffic = Traffic(world.url, f"round-{number}-{secrets.token_hex(4)}")
    reader, poller = EventReader(world.url), LongPoller(world.url, traffic.singles, lambda: not traffic.is_alive())
    reader.start()
    found = [] if reader.connected.wait(CONNECT_SECONDS) else [f"no event stream within {CONNECT_SECONDS:.0f} s"]
    for thread in (watcher, traffic, poller):
        thread.start()
    break_things(world, chosen)
    faults_ended = time.monotonic()
    while traffic.is_alive():
        traffic.join(0.2)
        world.restart_dead()
    traffic_ended = time.monotonic()
    late = late_jobs(world)
    world.allowed |= {job_id: {"deadline_exceeded"} for job_id in late}
    accepted = traffic.accepted | world.accepted | late
    accepted |= jobs_from_beside(world) | jobs_of_the_previous_release(world)
    found += traffic.failures + wait_for_jobs(world)
    recovery_seconds = time.monotonic() - max(faults_ended, traffic_ended)
    found += missed_ends(world, reader, poller, accepted, traffic.singles)
    found += watcher.stop() + wait_for_bulks(world)
    found += check(world, accepted)
    if recovery_seconds > RECOVERED_SECONDS:
        found.append(f"recovered only after {recovery_seconds:.1f} s")
    done = {"round": number, "faults": world.fault_log, "jobs": len(accepted)}
    done |= {"drawn": count_drawn(world.service.database)}
    insist(lambda: clear(world.service.database))
    time.sleep(RENUMBERED_SECONDS)
    return done | {"recovered_s": round(recovery_seconds, 1), "found": found}


def break_things(world: World, chosen: Sequence[Callable[[World], None]]) -> None:
    """Run these faults, each a moment after the one before, and wait for their ends."""
    threads: list[threading.Thread] = []
    for fault in chosen:
        time.sleep(world.random.uniform(0.2, 1.5))
        world.fault_log.append(fault.__name__)
        threads.append(in_background(attempt, world, fault))
        time.sleep(0.3)
        world.restart_dead()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
            world.restart_dead()


def attempt(world: World, fault: Callable[[World], None]) -> None:
    """Run a fault; one that fails itself has shown nothing."""
    try:
        fault(world)
    except Exception as error:  # noqa: BLE001 - whatever it is, the round's report says so
        world.broken.append(f"the fault {fault.__name__} failed: {error!r}"[:500])


def missed_ends(
    world: World, reader: EventReader, poller: LongPoller, accepted: set[str], singles: Sequence[str]
) -> list[str]:
    """The ends that the clients that waited did not learn within the recovery time."""
    ended = ended_jobs(world.service.database, accepted)
    polled = [job for job in ended if job.id in set(singles)]
    found = wait_until_heard("the event stream", reader.heard, ended, RECOVERED_SECONDS)
    found += wait_until_heard("the long poller", poller.heard, polled, RECOVERED_SECONDS)
    reader.stop()
    poller.stop()
    return found


def check(world: World, accepted: set[str]) -> list[str]:
    """What is wrong after a round, once its jobs have ended."""
    found = violations(
        world.service.database,
        world.service.settings,
        accepted,
        world.allowed,
        world.damaged_inputs,
        world.previous_pids,
    )
    found += wait_for_deliveries(world)
    found += webhook_violations(world, accepted)
    heal(world)
    found += wait_for_dispatchers(world)
    return found + world.broken + unexpected_ends(world.ends, world.fault_log) + world.ended_web_workers()


def count_drawn(database: Database) -> int:
    """The number of pictures that were not copied from an equal request."""
    with database.read() as session:
        return sum(SHARED_WITH not in receipt for receipt in session.scalars(select(Image.receipt)))


def clear(database: Database) -> None:
    """Empty the tables for the next round."""
    with database.write() as session:
        for table in (WebhookAttempt, WebhookDelivery, WebhookEvent, Image, Event, Job, IdempotencyKey, Bulk):
            session.execute(delete(table))


def run(kind: str, numbers: Sequence[int], seed: int, names: tuple[str, ...], *, keep: bool) -> list[dict[str, Any]]:
    """Run these rounds with one database; prints and returns their reports."""
    folder = Path(tempfile.mkdtemp(prefix="limner-chaos-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    world = build(folder, kind, seed)
    results: list[dict[str, Any]] = []
    try:
        world.restart_dead()
        eventually(lambda: world.service.ready_workers() == 2, 60)
        for number in numbers:
            world.random.seed(f"{seed}-{number}")
            results.append(one_round(world, number, names))
            click.echo(json.dumps(results[-1]))
    finally:
        world.stop()
        if keep:
            click.echo(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return results


@click.command()
@click.option("--rounds", default=20, show_default=True, help="Of `both`, the first half is PostgreSQL's.")
@click.option("--database", type=click.Choice([*KINDS, "both"]), default="postgresql", show_default=True)
@click.option("--seed", type=int, help="Default: random; it is printed.")
@click.option("--only", type=int, help="Run only the round with this number.")
@click.option("--fault", "names", multiple=True, type=click.Choice([fault.__name__ for fault in FAULTS]))
@click.option("--keep", is_flag=True, help="Keep the logs of the processes and print their folder.")
def main(rounds: int, database: str, seed: int | None, only: int | None, names: tuple[str, ...], keep: bool) -> None:
    """Inject random faults into the service and check that no job is lost, duplicated or left unfinished."""
    seed = secrets.randbelow(2**31) if seed is None else seed
    click.echo(f"seed {seed}, {database}")
    results: list[dict[str, Any]] = []
    kinds = KINDS if database == "both" else (database,)
    for place, kind in enumerate(kinds):
        numbers = range(rounds * place // len(kinds), rounds * (place + 1) // len(kinds))
        results += run(kind, [only] if only is not None else numbers, seed, names, keep=keep)
    bad = [result for result in results if result["found"]]
    times = sorted(float(str(result["recovered_s"])) for result in results)
    figures = {
        "seed": seed,
        "database": database,
        "rounds": len(results),
        "jobs": sum(int(str(result["jobs"])) for result in results),
        "rounds_with_faults_found": len(bad),
        "recovered_s": {"median": times[len(times) // 2], "max": times[-1]} if times else {},
    }
    goal = f"no job lost or duplicated, recovery within {RECOVERED_SECONDS:.0f} s"
    click.echo(json.dumps({"name": "chaos", "figures": figures, "goal": goal, "met": not bad}))
    raise SystemExit(1 if bad else 0)


if __name__ == "__main__":
    main()
