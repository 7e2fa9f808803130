"""Rounds of chaos: 200 jobs, a few random faults, and the oracle.

    python -m tests.chaos.run [--rounds 20] [--database postgresql|sqlite] [--seed N] [--fault NAME]…

The seed and the round's number determine its faults, so that `--seed S --only R` repeats one round.
"""

from __future__ import annotations

import json
import random
import secrets
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
from sqlalchemy import delete, func, select

from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database
from limner_shared.db.tables import Bulk, Event, IdempotencyKey, Image, Job
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEvent
from limner_shared.domain.replay import SHARED_WITH
from tests.chaos.faults import FAULTS
from tests.chaos.oracle import Watcher, violations
from tests.chaos.servers import Disk, in_background, new_service
from tests.chaos.traffic import Traffic
from tests.chaos.webhooks import Shop, wait_for_deliveries, webhook_violations
from tests.chaos.world import World
from tests.processes import eventually

RECOVERED_SECONDS = 12.0
END_SECONDS = 90.0


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
    world.fault_log, world.allowed, world.damaged_inputs, world.accepted = [], {}, set(), set()
    with world.service.database.write() as session:
        tenants.change_tenant(session, "local", {"share_results": number % 2 == 1})
    watcher = Watcher(world.service.database)
    watcher.start()
    traffic = Traffic(f"http://127.0.0.1:{world.service.settings.port}", f"round-{number}-{secrets.token_hex(4)}")
    traffic.start()
    threads: list[threading.Thread] = []
    for fault in chosen:
        time.sleep(world.random.uniform(0.2, 1.5))
        world.fault_log.append(fault.__name__)
        threads.append(in_background(fault, world))
        time.sleep(0.3)
        world.restart_dead()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)
            world.restart_dead()
    faults_ended = time.monotonic()
    while traffic.is_alive():
        traffic.join(0.2)
        world.restart_dead()
    traffic_ended = time.monotonic()
    found = list(traffic.failures)
    traffic.accepted |= world.accepted
    found += wait_for_the_end(world, traffic.accepted)
    recovery_seconds = time.monotonic() - max(faults_ended, traffic_ended)
    found += watcher.stop()
    found += violations(
        world.service.database,
        world.service.settings,
        traffic.accepted,
        world.allowed,
        world.damaged_inputs,
        world.previous_pids,
    )
    found += wait_for_deliveries(world)
    found += webhook_violations(world, traffic.accepted)
    if recovery_seconds > RECOVERED_SECONDS:
        found.append(f"recovered only after {recovery_seconds:.1f} s")
    done = {
        "round": number,
        "faults": world.fault_log,
        "jobs": len(traffic.accepted),
        "drawn": count_drawn(world.service.database),
    }
    clear(world.service.database)
    return done | {"recovered_s": round(recovery_seconds, 1), "found": found}


def wait_for_the_end(world: World, accepted: set[str]) -> list[str]:
    """Wait until no job is queued or running; returns a sentence with the number of jobs that did not end."""
    deadline = time.monotonic() + END_SECONDS
    left = len(accepted)
    while time.monotonic() < deadline:
        world.restart_dead()
        with world.service.database.read() as session:
            # An aborted bulk waits for its sweep, up to a minute if its web process died with it.
            unfinished = select(Bulk.id).where(Bulk.state.in_(("loading", "dropping")))
            live = Job.state.in_(("queued", "running")) & (Job.bulk_id.is_(None) | Job.bulk_id.not_in(unfinished))
            left = session.scalar(select(func.count()).where(live)) or 0
        if not left:
            return []
        time.sleep(0.1)
    return [f"{left} jobs had not ended after {END_SECONDS:.0f} s"]


def count_drawn(database: Database) -> int:
    """The number of pictures that were not copied from an equal request."""
    with database.read() as session:
        return sum(SHARED_WITH not in receipt for receipt in session.scalars(select(Image.receipt)))


def clear(database: Database) -> None:
    """Empty the tables for the next round."""
    with database.write() as session:
        for table in (WebhookAttempt, WebhookDelivery, WebhookEvent, Image, Event, Job, IdempotencyKey, Bulk):
            session.execute(delete(table))


@click.command()
@click.option("--rounds", default=20, show_default=True)
@click.option(
    "--database", "kind", type=click.Choice(["postgresql", "sqlite"]), default="postgresql", show_default=True
)
@click.option("--seed", type=int, help="Default: random; it is printed.")
@click.option("--only", type=int, help="Run only the round with this number.")
@click.option("--fault", "names", multiple=True, type=click.Choice([fault.__name__ for fault in FAULTS]))
@click.option("--keep", is_flag=True, help="Keep the logs of the processes and print their folder.")
def main(rounds: int, kind: str, seed: int | None, only: int | None, names: tuple[str, ...], keep: bool) -> None:
    """Inject random faults into the service and check that no job is lost, duplicated or left unfinished."""
    seed = secrets.randbelow(2**31) if seed is None else seed
    click.echo(f"seed {seed}, {kind}")
    folder = Path(tempfile.mkdtemp(prefix="limner-chaos-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    world = build(folder, kind, seed)
    results: list[dict[str, Any]] = []
    try:
        world.restart_dead()
        eventually(lambda: world.service.ready_workers() == 2, 60)
        for number in [only] if only is not None else range(rounds):
            world.random.seed(f"{seed}-{number}")
            results.append(one_round(world, number, names))
            click.echo(json.dumps(results[-1]))
    finally:
        world.stop()
        if keep:
            click.echo(f"logs: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    bad = [result for result in results if result["found"]]
    times = sorted(float(str(result["recovered_s"])) for result in results)
    figures = {
        "seed": seed,
        "database": kind,
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
