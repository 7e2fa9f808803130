"""Webhooks during the faults: an endpoint receives every job's start and end, and its receiver fails as well."""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from typing import TYPE_CHECKING

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Job
from limner_shared.db.webhook_tables import WebhookDelivery
from limner_shared.db.webhooks import endpoints
from limner_shared.db.webhooks.endpoints import EndpointFields
from limner_shared.domain.webhooks import EventType
from tests.chaos.oracle import is_from
from tests.processes import TENANT
from tests.receivers import Answer, Request, receiver

if TYPE_CHECKING:
    from tests.chaos.world import World

EVENTS = [each.value for each in EventType if each.startswith("job.")]
END_SECONDS = 90.0
POISONED_PATH = "/poisoned"
"""Where the webhooks of the tenant go whose stored things are damaged: nothing is expected of them."""


class Shop:
    """A receiver that answers at once, unless a fault says otherwise."""

    def __init__(self, database: Database) -> None:
        self._stack = ExitStack()
        self.receiver = self._stack.enter_context(receiver())
        with database.write() as session:
            fields = EndpointFields("chaos", self.receiver.url, EVENTS)
            endpoints.create(session, TENANT, fields, actor="chaos")

    def stop(self) -> None:
        self._stack.close()


def receiver_fails(world: World) -> None:
    """Let the receiver refuse, close the connection or hang for a while."""
    kind = world.random.choice(["refuses", "closes", "hangs"])
    seconds = world.random.uniform(1, 4)
    world.fault_log[-1] += f" {kind} {seconds:.1f} s"

    def fail(_request: Request) -> Answer:
        if kind == "closes":
            raise ConnectionResetError
        if kind == "hangs":
            time.sleep(seconds)
        return Answer(503)

    world.shop.receiver.answer = fail
    time.sleep(seconds)
    world.shop.receiver.answer = lambda _request: Answer()


def wait_for_deliveries(world: World) -> list[str]:
    """Wait until every delivery has ended; backoffs are cut short. Returns what is wrong."""
    deadline, left = time.monotonic() + END_SECONDS, 0
    is_open = WebhookDelivery.state.in_(("pending", "sending")) & (WebhookDelivery.tenant_id == TENANT)
    while time.monotonic() < deadline:
        world.restart_dead()
        try:
            with world.service.database.write() as session:
                backing_off = (WebhookDelivery.state == "pending") & (WebhookDelivery.attempt > 0)
                session.execute(update(WebhookDelivery).where(backing_off).values(next_at=now()))
                left = session.scalar(select(func.count()).where(is_open)) or 0
        except SQLAlchemyError:
            continue
        if not left:
            return []
        time.sleep(0.5)
    return [f"{left} webhook deliveries had not ended after {END_SECONDS:.0f} s"]


def webhook_violations(world: World, accepted: set[str]) -> list[str]:
    """Every ended job's end has arrived; all requests with one id have one body, and each event has one id."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    ids: dict[tuple[str, str], set[str]] = defaultdict(set)
    for request in world.shop.receiver.requests:
        if request.path == POISONED_PATH:
            continue
        bodies[request.headers["webhook-id"]].add(request.body)
        event = request.event
        ids[event["type"], event["data"]["id"]].add(request.headers["webhook-id"])
    with world.service.database.read() as session:
        jobs = session.scalars(select(Job).where(Job.id.in_(accepted))).all()
    found = [
        f"{job.id}: nothing was told of its end, {job.state}"
        for job in jobs
        if not ids[f"job.{job.state}", job.id] and not is_from(job, world.previous_pids)
    ]
    found += [f"{event_id}: {len(each)} bodies" for event_id, each in bodies.items() if len(each) > 1]
    found += [f"{key}: told as {len(each)} events" for key, each in ids.items() if len(each) > 1]
    world.shop.receiver.requests.clear()
    return found
