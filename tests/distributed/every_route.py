"""Calls of every route of a running service, and of what needs much processor time or waits."""

from __future__ import annotations

import base64
import io
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx
from PIL import Image


def use_every_route(client: httpx.Client, submit: Callable[[], str]) -> None:
    """Call each documented route once, with ids that do not exist, and those that need much processor time or wait."""
    get, post = client.get, client.post
    for path, operations in get("/api/v1/openapi.json").json()["paths"].items():
        for method in operations.keys() & {"get", "post", "put", "patch", "delete"}:
            if path != "/api/v1/events":  # a stream that never ends
                answer = client.request(method, re.sub(r"{\w+}", "none", path), json=None if method == "get" else {})
                assert answer.status_code < 500, (method, path, answer.text)
    for path in ("/", "/conversation", "/api/v1/docs", "/api/v1/openapi.json", "/readyz", "/healthz", "/v1/models"):
        assert get(path).status_code == 200, path
    job = submit()
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
