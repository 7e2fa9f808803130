"""Batches for tests: files of requests, the loader, and what the events report."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from sqlalchemy import select, update

from limner_shared.db import ledger
from limner_shared.db.batch_tables import Batch
from limner_shared.db.webhook_tables import WebhookEvent
from limner_web.openai.batch_loader import BatchLoader
from tests.api.clients import ApiClient, App

BATCHES = "/v1/batches"
URL = "/v1/images/generations"
EDITS = "/v1/images/edits"


def request_line(custom_id: str, **body: Any) -> dict[str, Any]:
    return call_line(custom_id, URL, {"prompt": "a cat"} | body)


def call_line(custom_id: str, url: str, body: dict[str, Any]) -> dict[str, Any]:
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


def jsonl(*lines: object) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def upload(client: ApiClient, data: bytes, purpose: str = "batch", **headers: str) -> str:
    form = {"purpose": purpose, "file": (io.BytesIO(data), "requests.jsonl")}
    return client.post("/v1/files", data=form, content_type="multipart/form-data", headers=headers).json["id"]


def create(client: ApiClient, *lines: object, headers: dict[str, str] | None = None, **fields: Any) -> str:
    file = upload(client, jsonl(*lines), **(headers or {}))
    body = {"input_file_id": file, "endpoint": URL, "completion_window": "24h"} | fields
    answer = client.post(BATCHES, json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.json["status"] == "validating"
    return answer.json["id"]


def batch(client: ApiClient, batch_id: str) -> dict[str, Any]:
    return client.get(f"{BATCHES}/{batch_id}").json


def sweep(app: App) -> None:
    """Do the dispatcher's part of a cancellation."""
    with app.extensions["limner"].database.write() as session:
        for bulk_id in ledger.unswept_bulks(session):
            ledger.sweep_bulk(session, bulk_id, 1000)


def change(app: App, batch_id: str, **values: Any) -> None:
    with app.extensions["limner"].database.write() as session:
        session.execute(update(Batch).where(Batch.id == batch_id).values(**values))


@pytest.fixture
def loader(app: App) -> BatchLoader:
    return BatchLoader(app.extensions["limner"])


@pytest.fixture
def events(client: ApiClient) -> None:
    """An endpoint for all events of batches."""
    kinds = [f"batch.{kind}" for kind in ("completed", "failed", "expired", "cancelled")]
    body = {"name": "x", "url": "https://nothing.invalid/x", "event_types": kinds}
    assert client.post("/v1/webhook_endpoints", json=body).status_code < 300


def told(app: App) -> list[tuple[str, dict[str, Any]]]:
    with app.extensions["limner"].database.read() as session:
        found = session.execute(select(WebhookEvent.type, WebhookEvent.data).order_by(WebhookEvent.id))
        return [(row[0], row[1]) for row in found if row[0].startswith("batch.")]
