"""A real service with two tenants for the requests, and the part of its workers: every queued job gets its pictures."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from sqlalchemy import func, select

from limner_client.local.embedded_valkey import free_port
from limner_shared.db import ledger
from limner_shared.db.accounts import keys
from limner_shared.db.batch_tables import Batch
from limner_shared.db.engine import DATABASE_AWAY, Database
from limner_shared.db.file_tables import StoredFile
from limner_shared.db.ledger import NewImage
from limner_shared.db.tables import Image, Job, Tenant
from limner_shared.db.webhook_tables import WebhookEndpoint
from limner_shared.domain.jobs import JobState
from limner_shared.messaging.hints import Hints, connect
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from tests.conftest import start_valkey
from tests.e2e.test_mcp import mcp_over_http
from tests.fuzz.databases import new_database
from tests.fuzz.doors.values import GOOD_PICTURES
from tests.models import COLLAGE
from tests.processes import Service, eventually

CANARY: Final = "canary-8c1f"
"""In every text of the other tenant. No answer may have it."""
ENDED: Final = [state.value for state in JobState if state.terminal]
URL: Final = "/v1/images/generations"


@dataclass
class World:
    """The service, its clients, and the ids that requests may name."""

    service: Service
    client: httpx.Client
    """With the key of the tenant that sends the requests."""
    pages: httpx.Client
    """The same tenant's browser."""
    agent: httpx.Client
    other: httpx.Client
    tenants: dict[str, str]
    web_pid: int
    ids: dict[str, str] = field(default_factory=dict[str, str])
    known_jobs: set[str] = field(default_factory=set[str])

    @property
    def database(self) -> Database:
        return self.service.database

    def new_jobs(self) -> list[Job]:
        """The jobs that the sending tenant got since the last call."""
        newest = select(Job).where(Job.tenant_id == self.tenants["own"]).order_by(Job.id.desc()).limit(40)
        with self.database.read() as session:
            found = [job for job in session.scalars(newest) if job.id not in self.known_jobs]
        self.known_jobs |= {job.id for job in found}
        return found

    def counts(self, tenant: str) -> dict[str, int]:
        """How many rows a tenant has of each kind, and how many of its jobs have been canceled."""
        with self.database.read() as session:
            kinds = {table.__tablename__: table for table in (Job, StoredFile, Batch, WebhookEndpoint)}
            found = {
                name: session.scalar(select(func.count()).where(table.tenant_id == self.tenants[tenant])) or 0
                for name, table in kinds.items()
            }
            canceled = select(func.count()).where(Job.tenant_id == self.tenants[tenant], Job.state == JobState.CANCELED)
            return found | {"canceled": session.scalar(canceled) or 0}

    def unfinished(self) -> list[str]:
        """Ids of jobs and batches that have not ended."""
        final = ("completed", "failed", "expired", "cancelled")
        with self.database.read() as session:
            jobs = session.scalars(select(Job.id).where(Job.state.not_in(ENDED)))
            batches = session.scalars(select(Batch.id).where(Batch.state.not_in(final)))
            return [*jobs, *batches]

    def memory(self) -> int:
        """The memory of the web processes in MB."""
        parent = psutil.Process(self.web_pid)
        return sum(each.memory_info().rss for each in (parent, *parent.children(recursive=True))) >> 20

    def seed(self, whose: str) -> None:
        """Give a tenant one resource of each kind, and remember their ids."""
        client = self.client if whose == "own" else self.other
        text = CANARY if whose == "other" else "own"
        for old in client.get("/v1/webhook_endpoints").raise_for_status().json()["data"]:  # a tenant may have 20
            client.delete(f"/v1/webhook_endpoints/{old['id']}").raise_for_status()
        line = {"custom_id": text, "method": "POST", "url": URL, "body": {"prompt": text}}
        made: dict[str, Any] = {
            "job": client.post("/replicate/v1/models/limner/limner-gan/predictions", json={"input": {"prompt": text}}),
            "file": client.post("/v1/files", data={"purpose": "vision"}, files={"file": (text, GOOD_PICTURES[0])}),
            "upload": client.post("/v1/files", data={"purpose": "batch"}, files={"file": (text, json.dumps(line))}),
            "endpoint": client.post(
                "/v1/webhook_endpoints",
                json={"name": text, "url": f"https://93.184.216.34/{text}", "event_types": ["batch.failed"]},
            ),
            "response": client.post(
                "/v1/responses",
                json={
                    "input": text,
                    "background": True,
                    "tools": [{"type": "image_generation", "model": "limner-gan"}],
                },
            ),
        }
        found = {kind: answer.raise_for_status().json()["id"] for kind, answer in made.items()}
        call = {"input_file_id": found["upload"], "endpoint": URL, "completion_window": "24h"}
        found["batch"] = client.post("/v1/batches", json=call).raise_for_status().json()["id"]
        eventually(lambda: self._image_of(found["job"]), 30)
        found["image"] = self._image_of(found["job"])
        eventually(lambda: not self.unfinished(), 60)
        self.ids |= {f"@{whose}.{kind}@": each for kind, each in found.items()}
        self.new_jobs()

    def _image_of(self, job_id: str) -> str:
        with self.database.read() as session:
            return session.scalar(select(Image.id).where(Image.job_id == job_id)) or ""


@contextmanager
def world(kind: str, folder: Path) -> Iterator[World]:
    """A web process, a dispatcher and an MCP server with a new database of this kind; both tenants have something."""
    with ExitStack() as stack:
        url = stack.enter_context(new_database(kind, folder))
        valkey = start_valkey()
        stack.callback(valkey.stop)
        settings = Settings(
            data_dir=folder,
            database_url=url,
            redis_url=f"redis://127.0.0.1:{valkey.port}/0",
            port=free_port(),
            web_workers=1,
            require_keys=True,
            models=(COLLAGE,),
        )
        database = Database(url)
        stack.callback(database.dispose)
        service = Service(settings, database, folder)
        stack.callback(service.stop)
        web = service.start_web()
        service.start("dispatcher")
        secrets = {whose: _key(database, whose) for whose in ("own", "other")}
        origin = f"http://127.0.0.1:{settings.port}"
        agents = stack.enter_context(mcp_over_http(origin))
        own, pages, agent, other = (
            stack.enter_context(_client(origin, {"Authorization": f"Bearer {secrets['own']}"})),
            stack.enter_context(_client(origin, {"Cookie": f"limner_key={secrets['own']}"})),
            stack.enter_context(_client(agents, {"Authorization": f"Bearer {secrets['own']}"})),
            stack.enter_context(_client(origin, {"Authorization": f"Bearer {secrets['other']}"})),
        )
        stack.enter_context(_drawing(settings, database))
        made = World(service, own, pages, agent, other, _tenants(database), web.pid)
        made.seed("other")
        made.seed("own")
        yield made


def _client(origin: str, headers: Mapping[str, str]) -> httpx.Client:
    # Connections are given up before the server closes them: a request of which no answer came would be a fault.
    limits = httpx.Limits(keepalive_expiry=0.5)
    return httpx.Client(base_url=origin, headers=headers, timeout=60, trust_env=False, limits=limits)


def _key(database: Database, tenant: str) -> str:
    with database.write() as session:
        return keys.create(session, tenant, CANARY, scopes=("read", "submit", "admin"))


def _tenants(database: Database) -> dict[str, str]:
    with database.read() as session:
        return {row.name: row.id for row in session.execute(select(Tenant.name, Tenant.id))}


@contextmanager
def _drawing(settings: Settings, database: Database) -> Iterator[None]:
    """End every queued job with as many pictures as it asks for, as a worker does."""
    over = threading.Event()
    digest = Blobs(settings.resolved_blob_url).put(GOOD_PICTURES[0])
    with connect(settings.redis_url) as redis:
        thread = threading.Thread(target=_draw_until, args=(over, database, Hints(redis), digest))
        thread.start()
        yield
        over.set()
        thread.join()


def _draw_until(over: threading.Event, database: Database, hints: Hints, digest: str) -> None:
    failed: Callable[[], bool] = over.is_set
    while not failed():
        try:
            if not _draw(database, hints, digest):
                time.sleep(0.01)
        except DATABASE_AWAY:  # SQLite's lock was not free for too long
            time.sleep(0.05)


def _draw(database: Database, hints: Hints, digest: str) -> bool:
    with database.read() as session:
        waiting = list(session.scalars(select(Job.id).where(Job.state == JobState.QUEUED).limit(50)))
    if not waiting:
        return False
    with database.write() as session:
        claims = ledger.claim(session, waiting, "fuzz", 60)
        results = [
            ledger.Result(
                claim.id,
                claim.attempt,
                [
                    NewImage(digest, "image/png", 64, 64, len(GOOD_PICTURES[0]), claim.spec.image_seed(index), {})
                    for index in range(claim.spec.n)
                ],
            )
            for claim in claims
        ]
        changes = ledger.finish(session, results)
    hints.changed(changes)
    return bool(claims)
