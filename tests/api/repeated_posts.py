"""Calls for the test that no repeated POST makes anything twice: one or more for each route of the application."""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import count
from typing import Any, Final

from sqlalchemy import func, insert, or_, select, update

from limner_shared.db.engine import now
from limner_shared.db.table_base import Base
from limner_shared.db.tables import Job, Leader
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery
from tests.api.batches import call_line, jsonl
from tests.api.canvas import DATA_URL
from tests.api.clients import Answer, ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_keys import make_key
from tests.api.test_openai_files import upload

BACKGROUND: Final = {"events", "images", "inputs", "image_embeddings", "idempotency_keys", "usage"}
"""Tables that change while a job runs, or with the repeated request itself."""
JSONL: Final = "application/jsonl"
EVENT: Final = {"event_type": "job.failed"}
RED: Final = png("red")
SIZE: Final = {"width": 64, "height": 32}


@dataclass
class World:
    """A service with a worker and a sender of webhooks, which are threads here."""

    app: App
    protected: App
    """The same service, requiring keys."""
    numbers: Iterator[int] = field(default_factory=count)
    sending: threading.Lock = field(default_factory=threading.Lock)

    @property
    def client(self) -> ApiClient:
        """A client of the service."""
        return self.app.test_client()

    @property
    def words(self) -> str:
        """Words that no other call has."""
        return f"a red apple, number {next(self.numbers)}"

    def rows(self, apart: str) -> Counter[str]:
        """How many rows each table but this one has, once every delivery that waits was sent."""
        self.settle()
        tables = [table for table in Base.metadata.sorted_tables if table.name not in {*BACKGROUND, apart}]
        counts = [select(func.count()).select_from(table).scalar_subquery().label(table.name) for table in tables]
        with self.app.extensions["limner"].database.read() as session:
            return Counter(dict(session.execute(select(*counts)).one()._mapping))

    def ended(self) -> str:
        """The id of a job that has succeeded."""
        body = {"prompt": self.words, "size": "64x32"}
        return self.client.post("/v1/images/generations", json=body).json["job_id"]

    def dead(self) -> str:
        """The id of a dead letter."""
        made, lost = self.ended(), {"state": "failed", "error_code": "worker_lost", "error_retryable": True}
        with self.app.extensions["limner"].database.write() as session:
            session.execute(update(Job).where(Job.id == made).values(lost))
        return made

    @cached_property
    def endpoint(self) -> str:
        """The id of a webhook endpoint."""
        body = {"name": self.words, "url": "https://shop.example", "event_types": ["job.canceled"]}
        return self.client.post("/api/v1/webhook_endpoints", json=body).json["id"]

    def delivery(self) -> str:
        """The id of a delivery that was sent."""
        self.client.post(f"/api/v1/webhook_endpoints/{self.endpoint}/test", json=EVENT)
        return self.client.get(f"/api/v1/webhook_deliveries?endpoint={self.endpoint}").json["items"][0]["id"]

    def settle(self) -> None:
        """Send every delivery that waits, with the answer 200."""
        with self.sending, self.app.extensions["limner"].database.write() as session:
            waits = select(WebhookDelivery.id).where(WebhookDelivery.state == "pending")
            sent: dict[str, Any] = {
                "number": 1,
                "url": "x",
                "request_headers": {},
                "status": 200,
                "seconds": 0,
                "created_at": now(),
            }
            for delivery in session.scalars(waits).all():
                session.execute(insert(WebhookAttempt).values(delivery_id=delivery, **sent))
                ended = update(WebhookDelivery).where(WebhookDelivery.id == delivery)
                session.execute(ended.values(state="delivered", ended_at=now()))


@contextmanager
def working(world: World) -> Iterator[None]:
    """Finish jobs and send deliveries as they come."""
    ended, database = threading.Event(), world.app.extensions["limner"].database
    with database.write() as session:
        session.execute(insert(Leader).values(duty="x", owner="a test", until=4e9))

    def run() -> None:
        while not ended.wait(0.02):
            with database.read() as session:
                # Also single jobs that were left to a dispatcher, because the one before was not finished yet.
                due = or_(Job.released_at.is_not(None), Job.bulk_id.is_(None) & Job.not_before.is_(None))
                jobs = session.scalars(select(Job.id).where(Job.state == "queued", due)).all()
                waits = session.scalar(select(WebhookDelivery.id).where(WebhookDelivery.state == "pending"))
            for job in jobs:
                claim = start(world.app, job)
                finish(world.app, claim, *[RED] * claim.spec.n, receipt={"buckets": [[1, claim.spec.steps]]})
            if waits:
                world.settle()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join(10)


Send = Callable[[dict[str, str]], Answer]


@dataclass(frozen=True)
class Route:
    """How a route is called. `prepare` makes what a call needs, and returns how it is sent, always in the same way."""

    prepare: Callable[[World], Send]
    told: str = "id"
    """The member of the answer, or the header of a file, by which two answers tell of the same."""
    apart: str = ""
    """A table whose number of rows is not compared."""


def post(
    path: str | Callable[[World], str],
    told: str = "id",
    body: Callable[[World], Any] | None = None,
    apart: str = "",
) -> Route:
    """A call with JSON, by default a prompt of its own."""

    def prepare(world: World) -> Send:
        where, said = path if isinstance(path, str) else path(world), {"prompt": world.words}
        sent = said if body is None else body(world)
        return lambda headers: world.app.test_client().post(where, json=sent, headers=headers)

    return Route(prepare, told, apart)


def bulk(world: World) -> Send:
    data = jsonl({"prompt": world.words}, {"prompt": world.words})
    return lambda headers: world.app.test_client().post("/api/v1/bulks", data=data, content_type=JSONL, headers=headers)


def form(path: str, name: str, **fields: str) -> Callable[[World], Send]:
    """A call with a picture in a form."""

    def prepare(world: World) -> Send:
        said = fields | ({"prompt": world.words} if "purpose" not in fields else {})
        name_of_file = f"{world.words}.png"

        def send(headers: dict[str, str]) -> Answer:
            given = said | {name: (io.BytesIO(RED), name_of_file, "image/png")}
            return world.app.test_client().post(path, data=given, content_type="multipart/form-data", headers=headers)

        return send

    return prepare


def rotated_key(world: World) -> Send:
    key = make_key(world.app.extensions["limner"].database, "ours")
    return lambda headers: world.protected.test_client().post("/api/v1/keys/rotate", json={}, headers=headers | key)


def created_key(world: World) -> Send:
    key = make_key(world.app.extensions["limner"].database, "ours", "admin")
    sent = {"label": world.words}
    return lambda headers: world.protected.test_client().post("/api/v1/keys", json=sent, headers=headers | key)


def hugging_face(world: World) -> Send:
    """A call whose answer is a file: the job that its header names tells of it."""
    sent = {"inputs": world.words, "parameters": SIZE}
    return lambda headers: world.app.test_client().post("/hf/models/canvas", json=sent, headers=headers)


def batch(world: World) -> dict[str, Any]:
    line = call_line("a", "/v1/images/generations", {"prompt": world.words})
    file = upload(world.client, jsonl(line), purpose="batch").json["id"]
    return {"input_file_id": file, "endpoint": "/v1/images/generations", "completion_window": "24h"}


def message(world: World) -> dict[str, Any]:
    return {"message": world.words}


def chat(world: World) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": world.words}]}


def prediction(world: World) -> dict[str, Any]:
    return {"input": {"prompt": world.words}}


def new_endpoint(world: World) -> dict[str, Any]:
    return {"name": world.words, "url": "https://shop.example", "event_types": ["job.failed"]}


def talk(world: World) -> str:
    made = world.client.post("/api/v1/conversations", json=message(world)).json
    return f"/api/v1/conversations/{made['id']}/messages"


def again(world: World) -> dict[str, Any]:
    last = world.delivery()
    world.delivery()
    return {"cursor": last, "state": "delivered", "since": "2026-01-01T00:00:00Z"}


def secret_rotation(world: World) -> dict[str, Any]:
    world.client.get("/api/v1/webhook_secret")  # makes the first one
    return {"overlap_seconds": next(world.numbers)}


SECRETS: Final = "webhook_secrets"
"""A rotation adds one and removes the one before the last."""


def endpoints(prefix: str) -> dict[str, Route]:
    """The routes of webhook endpoints, which are in two places."""
    one = f"{prefix}/<id:endpoint_id>"
    return {
        prefix: post(prefix, "signing_secret", new_endpoint),
        f"{one}/rotate_secret": post(
            lambda world: f"{prefix}/{world.endpoint}/rotate_secret", "signing_secret", secret_rotation, SECRETS
        ),
        f"{one}/test": post(lambda world: f"{prefix}/{world.endpoint}/test", "status_code", lambda _: EVENT),
    }


MAKING: Final[dict[str, Route]] = {
    "/api/v1/jobs": post("/api/v1/jobs"),
    "/api/v1/jobs/<id:job_id>/replay": post(lambda world: f"/api/v1/jobs/{world.ended()}/replay"),
    "/api/v1/jobs/retry": post("/api/v1/jobs/retry", "jobs", lambda world: {"jobs": [world.dead(), world.dead()]}),
    "/api/v1/bulks": Route(bulk),
    "/api/v1/conversations": post("/api/v1/conversations", body=message),
    "/api/v1/conversations/<id:conversation_id>/messages": post(talk, body=message),
    "/api/v1/keys": Route(created_key, apart="audit_log"),  # the secrets of both are made again
    "/api/v1/keys/rotate": Route(rotated_key, apart="audit_log"),
    **endpoints("/api/v1/webhook_endpoints"),
    **endpoints("/v1/webhook_endpoints"),
    "/api/v1/webhook_secret/rotate": post("/api/v1/webhook_secret/rotate", "secret", secret_rotation, SECRETS),
    "/api/v1/webhook_deliveries/<id:delivery_id>/redeliver": post(
        lambda world: f"/api/v1/webhook_deliveries/{world.delivery()}/redeliver"
    ),
    "/api/v1/webhook_deliveries/redeliver": post("/api/v1/webhook_deliveries/redeliver", "count", again),
    "/v1/images/generations": post("/v1/images/generations", "job_id"),
    "/v1/images/edits": Route(form("/v1/images/edits", "image[]"), "job_id"),
    "/v1/images/variations": Route(form("/v1/images/variations", "image"), "job_id"),
    "/v1/responses": post(
        "/v1/responses", body=lambda world: {"input": world.words, "tools": [{"type": "image_generation"}]}
    ),
    "/v1/chat/completions": post("/v1/chat/completions", body=chat),
    "/v1/files": Route(form("/v1/files", "file", purpose="vision")),
    "/v1/batches": post("/v1/batches", body=batch),
    "/replicate/v1/predictions": post(
        "/replicate/v1/predictions", body=lambda world: prediction(world) | {"version": "limner/canvas"}
    ),
    "/replicate/v1/models/<owner>/<name>/predictions": post(
        "/replicate/v1/models/limner/canvas/predictions", body=prediction
    ),
    "/replicate/v1/deployments/<owner>/<name>/predictions": post(
        "/replicate/v1/deployments/limner/canvas/predictions", body=prediction
    ),
    "/replicate/v1/files": Route(form("/replicate/v1/files", "content", purpose="")),
    "/hf/models/<path:model>": Route(hugging_face, "X-Limner-Job"),
    "/sdapi/v1/txt2img": post("/sdapi/v1/txt2img", "info", lambda world: {"prompt": world.words} | SIZE),
    "/sdapi/v1/img2img": post(
        "/sdapi/v1/img2img",
        "info",
        lambda world: {"prompt": world.words, "init_images": [DATA_URL]} | SIZE,
    ),
}
SETS_A_STATE: Final = "sets a state, which a repeated call sets again"
READS: Final = "makes and changes nothing"
PAGE: Final = "a form of a page: browsers send no such headers, and the answer is a redirect, which they do not repeat"
NOT_MAKING: Final = {
    "/api/v1/bulks/<id:bulk_id>/cancel": SETS_A_STATE,
    "/api/v1/bulks/<id:bulk_id>/pause": SETS_A_STATE,
    "/api/v1/bulks/<id:bulk_id>/resume": SETS_A_STATE,
    "/api/v1/cancellations/<id:cancellation_id>/stop": SETS_A_STATE,
    "/api/v1/jobs/<id:job_id>/cancel": SETS_A_STATE,
    "/api/v1/jobs/cancel": SETS_A_STATE,
    "/api/v1/pauses": SETS_A_STATE,
    "/api/v1/webhook_endpoints/<id:endpoint_id>": SETS_A_STATE,
    "/v1/webhook_endpoints/<id:endpoint_id>": SETS_A_STATE,
    "/v1/batches/<id:batch_id>/cancel": SETS_A_STATE,
    "/v1/responses/<id:response_id>/cancel": SETS_A_STATE,
    "/replicate/v1/predictions/<id:job_id>/cancel": SETS_A_STATE,
    "/sdapi/v1/options": SETS_A_STATE,
    "/sdapi/v1/interrupt": SETS_A_STATE,
    "/api/v1/estimate": READS,
    "/api/v1/interpret": READS,
    "/api/v1/describe": READS,
    "/v1/moderations": READS,
    "/sdapi/v1/png-info": READS,
    "/sdapi/v1/refresh-checkpoints": READS,
    "/sdapi/v1/refresh-loras": READS,
    "/sdapi/v1/refresh-vae": READS,
    "/sdapi/v1/reload-checkpoint": READS,
    "/sdapi/v1/unload-checkpoint": READS,
    "/draw": PAGE,
    "/account/keys": PAGE,
    "/language": PAGE,
    "/session": PAGE,
    "/session/end": PAGE,
}
"""The routes that need no protection, and why."""
