"""Rounds of chaos for webhooks alone: jobs end while receivers, web servers, dispatchers and Redis fail.

    python -m tests.chaos.webhook_rounds [--rounds 50] [--database sqlite|postgresql] [--seed N]

Each round has five endpoints with a receiver each, and jobs with a webhook of their own to a sixth. Clients submit and
cancel the jobs through the web server while it is killed. One endpoint is deleted in the middle. Afterwards everything
is healed, and then each event must have arrived at each receiver that is left, each request must have a valid
signature, all requests with one id must have one body, and the deleted endpoint must have been left alone. The seed and
the round's number determine the faults.
"""

from __future__ import annotations

import json
import random
import secrets
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from sqlalchemy import delete, func, select, update
from standardwebhooks import Webhook, WebhookVerificationError

from limner_shared.db.engine import Database, now
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEvent
from limner_shared.db.webhooks import endpoints
from limner_shared.db.webhooks.endpoints import EndpointFields
from tests.chaos.webhook_service import EVENT, TIMEOUT_SECONDS, Clients, World, build, kill_a_server
from tests.processes import TENANT, eventually
from tests.receivers import Answer, Receiver, Request, receiver

JOBS = 40
ENDPOINTS = 5
GRACE_SECONDS = 2 * TIMEOUT_SECONDS
"""What was being sent to an endpoint when it was deleted may arrive for so long."""
END_SECONDS = 120.0
FAILURES = ("killed", "hangs", "refuses", "slow", "closes")


@dataclass
class Shop:
    """A receiver that fails as a round says; while it is killed, nothing listens on its port."""

    stack: ExitStack
    receiver: Receiver
    endpoint_id: str = ""
    secret: str = ""
    requests: list[tuple[float, Request, int]] = field(default_factory=list[tuple[float, Request, int]])
    """What arrived: when, what, and the status that was answered; 0 for none."""

    @classmethod
    def open(cls, port: int = 0) -> Shop:
        stack = ExitStack()
        return cls(stack, stack.enter_context(receiver(port=port)))

    def behave(self, kind: str, seconds: float) -> None:
        """Answer well, or fail in one way."""

        def answer(request: Request) -> Answer:
            at, status = time.monotonic(), {"refuses": 503, "closes": 0, "hangs": 0}.get(kind, 200)
            if kind in ("hangs", "slow"):
                time.sleep(TIMEOUT_SECONDS + 1 if kind == "hangs" else seconds)
            self.requests.append((at, request, status))
            if kind == "closes":
                raise ConnectionResetError
            return Answer(status or 200)

        self.receiver.answer = answer

    def kill(self, seconds: float) -> None:
        """Close the port, with the connections that are open, for this time."""
        port = int(self.receiver.url.rpartition(":")[2].partition("/")[0])
        self.stack.close()
        time.sleep(seconds)
        self.stack = ExitStack()
        self.receiver = eventually(lambda: self._listen(port), 20)
        self.behave("well", 0)

    def _listen(self, port: int) -> Receiver | None:
        try:
            return self.stack.enter_context(receiver(port=port))
        except OSError:
            return None


def begin(world: World, shop: Shop, count: int) -> Clients:
    """Start to submit and cancel jobs whose own webhook is this shop."""
    clients = Clients(world, shop.receiver.url, count)
    clients.start()
    return clients


def add_endpoint(world: World, shop: Shop) -> None:
    """Create the shop's endpoint."""
    with world.database.write() as session:
        fields = EndpointFields("chaos", shop.receiver.url, [EVENT])
        endpoint, shop.secret = endpoints.create(session, TENANT, fields, actor="chaos")
        shop.endpoint_id = endpoint.id


def break_receivers(
    shops: list[Shop], seconds: float, chance: random.Random
) -> tuple[list[str], list[threading.Thread]]:
    """Let some receivers fail. Returns what was done, and the threads that revive those that were killed."""
    kinds = {number: chance.choice(FAILURES) for number in chance.sample(range(len(shops)), chance.randint(2, 5))}
    threads: list[threading.Thread] = []
    for number, kind in kinds.items():
        if kind == "killed":
            threads.append(threading.Thread(target=shops[number].kill, args=(seconds,)))
            threads[-1].start()
        else:
            shops[number].behave(kind, chance.uniform(0.3, TIMEOUT_SECONDS - 0.5))
    return [f"receiver {number} {kind}" for number, kind in kinds.items()], threads


def wait_for_deliveries(world: World) -> list[str]:
    """Wait until every delivery has ended; backoffs, and the leases of killed dispatchers, are cut short."""
    is_open = WebhookDelivery.state.in_(("pending", "sending"))
    time.sleep(TIMEOUT_SECONDS)  # what is being sent ends by itself; the other leases are those of killed dispatchers
    deadline, left, cut = time.monotonic() + END_SECONDS, 0, is_open
    while time.monotonic() < deadline:
        world.restart_dead()
        with world.database.write() as session:
            session.execute(update(WebhookDelivery).where(cut).values(next_at=now()))
            left = session.scalar(select(func.count()).where(is_open)) or 0
        if not left:
            return []
        cut = WebhookDelivery.state == "pending"
        time.sleep(0.5)
    return [f"{left} deliveries had not ended after {END_SECONDS:.0f} s"]


def violations(shop: Shop, name: str, ended: set[str], *, deleted_at: float | None) -> list[str]:
    """What is wrong with what arrived at a shop that expects the ends of these jobs."""
    found: list[str] = []
    bodies: dict[str, set[bytes]] = defaultdict(set)
    ids: dict[str, set[str]] = defaultdict(set)
    answered: set[str] = set()
    verify = Webhook(shop.secret).verify
    for at, request, status in shop.requests:
        try:
            verify(request.body, request.headers)
        except WebhookVerificationError as error:
            found.append(f"{name}: {error}")
        bodies[request.headers["webhook-id"]].add(request.body)
        job = request.event["data"]["id"]
        ids[job].add(request.headers["webhook-id"])
        if status == 200:
            answered.add(job)
        if deleted_at is not None and at > deleted_at + GRACE_SECONDS:
            found.append(f"{name}: told {at - deleted_at:.1f} s after it was deleted")
    if deleted_at is None:
        found += [f"{name}: never told of {job}" for job in ended - answered]
    found += [f"{name}: {event} with {len(each)} bodies" for event, each in bodies.items() if len(each) > 1]
    return found + [f"{name}: {job} told as {len(each)} events" for job, each in ids.items() if len(each) > 1]


def one_round(world: World, chance: random.Random) -> dict[str, Any]:
    """Run one round. Returns its report."""
    shops = [Shop.open() for _ in range(ENDPOINTS + 1)]
    try:
        for shop in shops:
            shop.behave("well", 0)
        for shop in shops[:ENDPOINTS]:
            add_endpoint(world, shop)
        own = shops[ENDPOINTS]
        with world.database.write() as session:
            own.secret = endpoints.current_secret(session, TENANT)
        clients = [begin(world, own, JOBS // 4)]
        eventually(lambda: any(shop.requests for shop in shops), END_SECONDS)  # a dispatcher sends
        seconds = chance.uniform(2, 5)
        done, threads = break_receivers(shops, seconds, chance)
        clients.append(begin(world, own, JOBS // 4))
        time.sleep(chance.uniform(0.2, seconds / 2))
        done += kill_a_server(world, chance)
        gone = chance.randrange(ENDPOINTS)
        with world.database.write() as session:
            endpoints.remove(session, TENANT, shops[gone].endpoint_id, actor="chaos")
        deleted_at = time.monotonic()
        clients.append(begin(world, own, JOBS // 2))
        time.sleep(chance.uniform(0, seconds / 2))
        done += kill_a_server(world, chance)
        for thread in threads:
            thread.join()
        ended: set[str] = {job_id for each in clients for job_id in each.end()}
        for shop in shops:
            shop.behave("well", 0)
        found = [text for each in clients for text in each.failures] + wait_for_deliveries(world)
        for number, shop in enumerate(shops):
            found += violations(shop, f"receiver {number}", ended, deleted_at=deleted_at if number == gone else None)
        sent = sum(len(shop.requests) for shop in shops)
        once = sum(len({each.headers["webhook-id"] for _, each, _ in shop.requests}) for shop in shops)
    finally:
        for shop in shops:
            shop.stack.close()
    clear(world.database, [shop.endpoint_id for number, shop in enumerate(shops[:ENDPOINTS]) if number != gone])
    return {"faults": done, "jobs": len(ended), "events": once, "requests": sent, "found": found}


def clear(database: Database, endpoint_ids: list[str]) -> None:
    """Remove the round's endpoints, and empty the tables of deliveries."""
    with database.write() as session:
        for endpoint_id in endpoint_ids:
            endpoints.remove(session, TENANT, endpoint_id, actor="chaos")
        for table in (WebhookAttempt, WebhookDelivery, WebhookEvent):
            session.execute(delete(table))


def run(rounds: int, kind: str, seed: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Run rounds; returns the figures and what was found."""
    folder = Path(tempfile.mkdtemp(prefix="limner-chaos-"))
    folder.chmod(0o755)  # PostgreSQL runs as another user
    world = build(folder, kind)
    results: list[dict[str, Any]] = []
    try:
        for number in range(rounds):
            world.restart_dead()
            results.append({"round": number} | one_round(world, random.Random(f"{seed}-{number}")))
            tell(json.dumps(results[-1]))
    finally:
        world.stop()
        world.database.dispose()
        shutil.rmtree(folder, ignore_errors=True)
    return {
        "seed": seed,
        "database": kind,
        "rounds": len(results),
        "events": sum(result["events"] for result in results),
        "requests": sum(result["requests"] for result in results),
        "found": [text for result in results for text in result["found"]],
    }


@click.command()
@click.option("--rounds", default=50, show_default=True)
@click.option("--database", "kind", type=click.Choice(["postgresql", "sqlite"]), default="sqlite", show_default=True)
@click.option("--seed", type=int, help="Default: random; it is printed.")
def main(rounds: int, kind: str, seed: int | None) -> None:
    """Let jobs end while receivers, web servers, dispatchers and Redis fail, and check what arrives."""
    seed = secrets.randbelow(2**31) if seed is None else seed
    click.echo(f"seed {seed}, {kind}")
    figures = run(rounds, kind, seed, click.echo)
    goal = "each event arrives, signed, under one id; none after the deletion of its endpoint"
    click.echo(json.dumps({"name": "webhook_rounds", "figures": figures, "goal": goal, "met": not figures["found"]}))
    raise SystemExit(1 if figures["found"] else 0)


if __name__ == "__main__":
    main()
