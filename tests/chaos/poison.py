"""Damage to what is stored of one tenant: all other tenants must go on.

The tenant has jobs, a bulk, an endpoint, a file and pictures like any other; then some of what is stored of it has a
form that no version writes. Nothing is expected of its own jobs. A worker is killed, and a job of another tenant
expires, so that a dispatcher that cannot reap or expire because of the damage is found.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, cast

import httpx
from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute, Session

from limner_shared.db.accounts import keys
from limner_shared.db.batch_tables import Batch
from limner_shared.db.engine import Database, now
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.tables import Bulk, Event, IdempotencyKey, Image, Input, Job, Tenant
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from limner_shared.db.webhooks import endpoints
from limner_shared.db.webhooks.endpoints import EndpointFields
from limner_shared.domain.ids import new_id
from limner_shared.storage.blobs import CHECKPOINTS, FILES, INPUTS, RENDITIONS, Blobs
from tests.chaos.rest import insist
from tests.chaos.traffic import picture, until_accepted
from tests.chaos.webhooks import EVENTS, POISONED_PATH
from tests.chaos.world import World
from tests.processes import TENANT

NAME: Final = "poisoned"
COLUMNS: Final[Mapping[str, InstrumentedAttribute[Any]]] = {
    f"{column.class_.__tablename__}.{column.key}": column
    for column in (
        Job.spec,
        Job.extra,
        Job.webhook,
        Job.interpretation,
        Image.receipt,
        Bulk.webhook,
        Bulk.skipped,
        Tenant.blocked_terms,
        IdempotencyKey.answer,
        WebhookEndpoint.event_types,
        WebhookEvent.data,
        Batch.extra,
        StoredFile.extra,
    )
}
"""What holds JSON that is damaged, by name."""
OBJECTS: Final = ("pictures", RENDITIONS, INPUTS, FILES, CHECKPOINTS)
VALUES: Final[tuple[Any, ...]] = (5, True, "text", [], [[]], [5], {}, {"version": "none"})
"""JSON that has the form of hardly anything that is stored."""
GIVE_UP_SECONDS: Final = 10.0
LATE: Final = {"from": "a client with little time"}
"""The metadata of jobs that cannot end before their deadlines."""


def poison_a_tenant(world: World) -> None:
    """Damage some of what is stored of one tenant, while its jobs and those of the others run."""
    chosen = world.random.sample([*COLUMNS, *OBJECTS], world.random.randint(1, 3))
    kinds = {kind: world.random.choice(VALUES) for kind in chosen}
    world.fault_log[-1] += f" {kinds}"
    client = _client(world)
    if client is None:
        return
    with client:
        stored = _store_things(world, client)
        time.sleep(world.random.uniform(0.5, 2))  # some of its jobs end
        _read_things(client, stored)
        for kind, value in kinds.items():
            _damage(world, kind, value)
        _store_things(world, client)
        _read_things(client, stored)
    with suppress(SQLAlchemyError), world.service.database.write() as session:
        for kind, value in kinds.items():  # what was stored meanwhile, too
            _damage_column(session, kind, value)
        own = Job.tenant_id == _tenant(session)
        session.execute(update(Job).where(own, Job.finished_at.is_(None)).values(deadline_at=now() - 1))
    _let_others_need_repair(world)


def _let_others_need_repair(world: World) -> None:
    """Kill a worker of the other tenants' jobs, and let one of these expire."""
    world.kill(world.aim("worker"))
    late = {"prompt": "too late", "steps": 1000, "expires_in": 3, "metadata": LATE}
    with httpx.Client(base_url=f"{world.url}/api/v1", timeout=5, trust_env=False) as client:
        until_accepted(client, "/jobs", new_id("key"), GIVE_UP_SECONDS, [], json=late)


def late_jobs(world: World) -> set[str]:
    """The others' jobs that cannot end before their deadlines, also those whose responses were lost."""
    with world.service.database.read() as session:
        rows = session.execute(select(Job.id, Job.extra).where(Job.tenant_id == TENANT)).all()
    return {job_id for job_id, extra in rows if extra == LATE}


def heal(world: World) -> None:
    """Delete what is stored of the tenant, except its key and its endpoint, which are repaired."""
    if world.poisoned_key:
        insist(lambda: _heal(world.service.database))


def _heal(database: Database) -> None:
    with database.write() as session:
        tenant = _tenant(session)
        jobs = select(Job.id).where(Job.tenant_id == tenant)
        deliveries = select(WebhookDelivery.id).where(WebhookDelivery.tenant_id == tenant)
        session.execute(delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(deliveries)))
        for table in (WebhookDelivery, WebhookEvent):
            session.execute(delete(table).where(table.tenant_id == tenant))
        for table in (Image, Event):
            session.execute(delete(table).where(table.job_id.in_(jobs)))
        for table in (Job, IdempotencyKey, Batch, StoredFile, Bulk):
            session.execute(delete(table).where(table.tenant_id == tenant))
        session.execute(update(Tenant).where(Tenant.id == tenant).values(blocked_terms=None))
        own = WebhookEndpoint.tenant_id == tenant
        session.execute(update(WebhookEndpoint).where(own).values(event_types=EVENTS))


# --- what the tenant stores ---


def _tenant(session: Session) -> str:
    return session.scalars(select(Tenant.id).where(Tenant.name == NAME)).one()


def _client(world: World) -> httpx.Client | None:
    """A client of the tenant, which is created first; None while the database is away."""
    if not world.poisoned_key:
        with suppress(SQLAlchemyError), world.service.database.write() as session:
            key = keys.create(session, NAME, "chaos")
            url = world.shop.receiver.url.rpartition("/")[0] + POISONED_PATH
            endpoints.create(session, _tenant(session), EndpointFields(NAME, url, EVENTS), actor="chaos")
            world.poisoned_key = key
    headers = {"Authorization": f"Bearer {world.poisoned_key}"}
    return httpx.Client(base_url=world.url, headers=headers, timeout=5, trust_env=False) if world.poisoned_key else None


def _store_things(world: World, client: httpx.Client) -> list[str]:
    """Submit jobs, a bulk and a batch of the tenant; returns the paths of what was accepted."""
    webhook = {"webhook": world.shop.receiver.url.rpartition("/")[0] + POISONED_PATH}
    common: dict[str, Any] = webhook | {"metadata": {"of": NAME}}
    requests: list[dict[str, Any]] = [
        common | {"prompt": NAME, "seed": 10**6 + world.random.randrange(10**6)} for _ in range(6)
    ]
    requests[0]["image"] = picture(12)  # not a picture of the traffic
    requests[1] = common | {"description": "a poisoned apple"}
    requests[2] |= {"steps": 200}  # it still runs when it is damaged
    requests[3] |= {"steps": 200, "expires_in": 5}
    accepted = [_send(client, "/api/v1/jobs", json=request) for request in requests]
    lines = "".join(json.dumps({"prompt": f"{NAME} {number}"}) + "\n" for number in range(5))
    sent = {"content": lines, "headers": {"Content-Type": "application/jsonl"}}
    accepted.append(_send(client, f"/api/v1/bulks?webhook={webhook['webhook']}", **sent))
    orders = "".join(_order(number) for number in range(3))
    file = {"files": {"file": ("orders.jsonl", orders.encode())}, "data": {"purpose": "batch"}}
    accepted.append(_send(client, "/v1/files", **file))
    if accepted[-1] is not None:
        batch = {"input_file_id": accepted[-1]["id"], "endpoint": "/v1/images/generations", "completion_window": "24h"}
        accepted.append(_send(client, "/v1/batches", json=batch))
    return [path for each in accepted if each is not None for path in _paths(each["id"])]


def _order(number: int) -> str:
    body = {"prompt": NAME, "model": "null", "size": "16x16"}
    order = {"custom_id": f"{number}", "method": "POST", "url": "/v1/images/generations", "body": body}
    return json.dumps(order) + "\n"


def _paths(resource: str) -> Iterator[str]:
    """Where a resource is read, by the prefix of its id: `file-…` of the doors, `job_…` of the API."""
    kind = resource.partition("_")[0].partition("-")[0]
    yield from {
        "job": [f"/api/v1/jobs/{resource}", f"/api/v1/jobs/{resource}/receipts", f"/api/v1/jobs/{resource}/explain"],
        "bulk": [f"/api/v1/bulks/{resource}", f"/api/v1/bulks/{resource}/results"],
        "file": [f"/v1/files/{resource}", f"/v1/files/{resource}/content"],
        "batch": [f"/v1/batches/{resource}"],
    }.get(kind, [])


def _send(client: httpx.Client, path: str, **sent: Any) -> dict[str, Any] | None:
    """Send a request once; None if it is not accepted: the service may be broken, or refuse what is damaged."""
    with suppress(httpx.HTTPError, ValueError):
        answer = client.post(path, **sent)
        return answer.json() if answer.is_success else None
    return None


def _read_things(client: httpx.Client, paths: list[str]) -> None:
    """Read what is stored, with the pictures and a rendition of each, whatever the answers are."""
    for path in [*paths, "/api/v1/jobs", "/api/v1/bulks", "/api/v1/webhook_deliveries", "/api/v1/usage"]:
        with suppress(httpx.HTTPError, ValueError, LookupError, TypeError):
            answer = client.get(path)
            for image in answer.json()["images"]:
                client.get(image["url"])
                client.get(image["url"], params={"width": "64"})


# --- the damage ---


def _damage(world: World, kind: str, value: Any) -> None:
    if kind in OBJECTS:
        _damage_objects(world, kind)
        return
    with suppress(SQLAlchemyError), world.service.database.write() as session:
        _damage_column(session, kind, value)


def _damage_column(session: Session, kind: str, value: Any) -> None:
    """Write something of another form into a column of all the tenant's rows."""
    column = COLUMNS.get(kind)
    if column is None:
        return
    table, tenant = cast("Any", column.class_), _tenant(session)
    if table is Tenant:
        own = Tenant.id == tenant
    elif table is Image:
        own = Image.job_id.in_(select(Job.id).where(Job.tenant_id == tenant))
    else:
        own = table.tenant_id == tenant
    session.execute(update(table).where(own).values({column: value}))


def _damage_objects(world: World, kind: str) -> None:
    """Cut, zero or replace objects of the tenant in the picture store."""
    blobs = Blobs(world.service.settings.resolved_blob_url)
    assert blobs.folder is not None
    with suppress(SQLAlchemyError):
        for file in _OBJECTS_OF[kind](world, blobs.folder):
            data = file.read_bytes() if file.exists() else b""
            half = len(data) // 2
            with suppress(OSError):
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(world.random.choice([data[:half], data[:half] + bytes(half), b"\x00\xff"]))


def _pictures(world: World, folder: Path) -> list[Path]:
    with world.service.database.read() as session:
        own = select(Image.sha256).join(Job, Job.id == Image.job_id).where(Job.tenant_id == _tenant(session))
        return [folder / digest[:2] / digest for digest in session.scalars(own)]


def _renditions(world: World, folder: Path) -> list[Path]:
    places = [folder / RENDITIONS / file.parent.name / file.name for file in _pictures(world, folder)]
    return [file for place in places if place.is_dir() for file in place.iterdir()]


def _inputs(world: World, folder: Path) -> list[Path]:
    with world.service.database.read() as session:
        own = Job.tenant_id == _tenant(session)
        jobs = select(Job.id).where(own)
        digests = session.scalars(select(Input.sha256).where(Input.job_id.in_(jobs))).all()
    return [folder / INPUTS / digest for digest in digests]


def _parts(world: World, folder: Path) -> list[Path]:
    with world.service.database.read() as session:
        own = session.scalars(select(StoredFile.id).where(StoredFile.tenant_id == _tenant(session))).all()
    return [folder / FILES / f"{file_id}.0" for file_id in own]


def _checkpoints(world: World, folder: Path) -> list[Path]:
    """Where checkpoints of its running jobs would be: the null model makes none, but they are looked for."""
    with world.service.database.read() as session:
        own = Job.tenant_id == _tenant(session)
        jobs = session.scalars(select(Job.id).where(own, Job.finished_at.is_(None))).all()
    return [folder / CHECKPOINTS / f"{job_id}-0.sum" for job_id in jobs]


_OBJECTS_OF: Final[Mapping[str, Callable[[World, Path], list[Path]]]] = {
    "pictures": _pictures,
    RENDITIONS: _renditions,
    INPUTS: _inputs,
    FILES: _parts,
    CHECKPOINTS: _checkpoints,
}
