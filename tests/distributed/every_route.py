"""Calls of every route of a running service, of large pictures, and of what needs much processor time or waits."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

import httpx
from bench.exercise import MODEL
from bench.stand_in import StandIn
from bench.tour import Tour, noise
from PIL import Image

from limner_shared.db import ledger
from limner_shared.db.accounts import keys
from limner_shared.domain.access import Scope
from limner_web.app import create_app
from tests.processes import Service

SIDE: Final = 2048


@contextmanager
def touring(service: Service, client: httpx.Client) -> Iterator[Tour]:
    """A tour of a running service with pictures of SIDE pixels a side, whose jobs a thread of this process draws."""
    app = create_app(service.settings)  # for its routes and its connections; it serves nothing
    held, picture = app.extensions["limner"], noise(SIDE)
    with held.database.write() as session:
        key = keys.create(session, ledger.LOCAL_NAME, "a tour", scopes=tuple(Scope))
    stand_in = StandIn(held.database, held.blobs, held.hints, picture, [MODEL, held.catalogue.default])
    with stand_in.working():
        yield Tour(client, app.url_map, stand_in, MODEL, key, picture)
    held.database.dispose()


def load_the_loop(client: httpx.Client, submit: Callable[[], str]) -> None:
    """Call what needs much processor time or waits."""
    get, post = client.get, client.post
    later = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    job = post("/api/v1/jobs", json={"prompt": "x", "not_before": later}).raise_for_status().json()["id"]
    bad = b'{"prompt": ""}\n' + b'{"prompt": "x"}\n' * 60_000
    assert post("/api/v1/bulks", content=bad, headers={"Content-Type": "application/jsonl"}).status_code == 422
    good = b'{"prompt": "x"}\n' * 5_000
    bulk = post("/api/v1/bulks", content=good, headers={"Content-Type": "application/jsonl"}).raise_for_status().json()
    for size, kind in ((4096, "PNG"), (5000, "JPEG"), (3500, "WEBP")):
        start = {"prompt": "x", "model": "painter", "image": data_url(size, kind)}
        assert post("/api/v1/jobs", json=start).status_code == 202, kind
    with ThreadPoolExecutor(20) as clients:
        for submitted in [clients.submit(submit) for _ in range(60)]:
            submitted.result()
        list(clients.map(get, [f"/api/v1/jobs/{job}", "/api/v1/jobs?limit=100", f"/api/v1/jobs/{job}?wait=1"] * 10))
    for path in (bulk["links"]["self"], "/api/v1/bulks", f"{bulk['links']['results']}?format=zip", "/api/v1/models"):
        assert get(path).status_code == 200, path
    said = post("/api/v1/conversations", json={"message": "a red car, please"}).raise_for_status().json()
    assert get(said["links"]["self"]).status_code == 200
    for action in ("pause", "resume", "cancel"):
        assert post(bulk["links"][action]).status_code == 200, action
    assert post(f"/api/v1/jobs/{job}/cancel").status_code == 200


def data_url(size: int, kind: str) -> str:
    buffer = io.BytesIO()
    noise = Image.frombytes("L", (64, 64), os.urandom(4096)).resize((size, size))
    noise.convert("RGBA" if kind != "JPEG" else "RGB").save(buffer, kind, **({"quality": 50} if kind != "PNG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
