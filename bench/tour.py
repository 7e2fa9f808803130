"""One call or more of every route of a service, with bodies that are accepted, for tests that must see all of them.

The calls of jobs, of the queue and of accounts are here; those of the doors for other clients and of the pages are in
`tour_doors`.
"""

from __future__ import annotations

import base64
import io
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from PIL import Image
from werkzeug.routing import Map

from bench.stand_in import StandIn

ENDED: Final = ("succeeded", "failed", "canceled")
SECONDS: Final = 60.0
LINES: Final = {"Content-Type": "application/jsonl"}
API: Final = "/api/v1"


@dataclass
class Tour:
    """A client of a service, whose jobs `stand_in` draws. `called` has the endpoints that have accepted a call."""

    client: httpx.Client
    routes: Map
    stand_in: StandIn
    model: str
    """The name of a model that takes pictures and masks."""
    key: str
    """A key of the service's own tenant, with all scopes."""
    picture: bytes
    """A PNG."""
    called: set[str] = field(default_factory=set[str])

    @property
    def data_url(self) -> str:
        """The picture as a URL."""
        return f"data:image/png;base64,{base64.b64encode(self.picture).decode()}"

    def __call__(self, method: str, path: str, **sent: Any) -> Any:
        """The answer to a call, as JSON if it is that. Raises RuntimeError for one that is not accepted."""
        answer = self.client.request(method, path, **sent)
        if answer.status_code >= HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text[:500]}")
        self.note(method, str(answer.request.url))
        is_json = answer.headers.get("Content-Type", "").partition(";")[0] == "application/json" and answer.content
        return answer.json() if is_json else answer.content

    def note(self, method: str, url: str) -> None:
        """Note that a call was accepted."""
        self.called.add(self.routes.bind("localhost").match(urlsplit(url).path, method)[0])

    def draw(self, **request: Any) -> dict[str, Any]:
        """Submit a job of the model and return its view once it has ended."""
        job = self("POST", f"{API}/jobs", json={"prompt": "a red apple", "model": self.model} | request)
        return self.until(lambda: self("GET", f"{API}/jobs/{job['id']}?wait=20"), lambda view: view["status"] in ENDED)

    def until(self, look: Callable[[], Any], is_enough: Callable[[Any], bool]) -> Any:
        """Look again and again, and return what is enough. Raises RuntimeError after SECONDS."""
        deadline = time.monotonic() + SECONDS
        while not is_enough(found := look()):
            if time.monotonic() > deadline:
                raise RuntimeError(f"still {found}")
            time.sleep(0.05)
        return found

    def stream(self, path: str, **sent: Any) -> None:
        """Begin to read an answer that may not end."""
        with self.client.stream("GET", path, **sent) as answer:
            if answer.status_code >= HTTPStatus.BAD_REQUEST:
                raise RuntimeError(f"{path}: {answer.status_code}")
            next(answer.iter_lines())
            self.note("GET", path)


def noise(size: int) -> bytes:
    """A PNG with an alpha channel, which is not small."""
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 64).resize((size, size)).convert("RGBA").save(buffer, "PNG")
    return buffer.getvalue()


def native(tour: Tour) -> None:
    """Call the routes of the native API."""
    drawn = tour.draw()
    jobs(tour, drawn)
    pictures(tour, drawn)
    bulks(tour)
    conversations(tour)
    estimates(tour)
    account(tour)
    operation(tour)
    webhooks(tour, f"{API}/webhook_endpoints", f"{API}/webhook_event_types")
    deliveries(tour)
    job = tour.draw()
    tour("DELETE", job["images"][0]["url"])
    tour("DELETE", job["links"]["self"])


def jobs(tour: Tour, drawn: dict[str, Any]) -> None:
    """Call the routes of jobs."""
    own = drawn["links"]["self"]
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    later = tour("POST", f"{API}/jobs", json={"prompt": "x", "model": tour.model, "not_before": tomorrow})
    for path in (f"{API}/jobs?limit=3", f"{API}/jobs?ids={drawn['id']}&wait=1", f"{API}/tags"):
        tour("GET", path)
    for path in ("explain", "receipts", "preview"):
        tour("GET", f"{own}/{path}")
    tour("PUT", f"{later['links']['self']}/priority", json={"priority": "high"})
    tour("POST", later["links"]["cancel"])
    tour("POST", f"{own}/replay", json={})
    tour("POST", f"{API}/jobs/retry", json={})
    tour("POST", f"{API}/jobs/cancel", json={"model": tour.model, "priority": "low"})
    tour("POST", f"{API}/jobs", json={"prompt": "x", "model": tour.model, "not_before": tomorrow, "priority": "low"})
    low = {"model": tour.model, "priority": "low", "in_background": True}
    order = tour("POST", f"{API}/jobs/cancel", json=low)["cancellation"]
    for method, path in (("GET", ""), ("GET", f"/{order}"), ("POST", f"/{order}/stop")):
        tour(method, f"{API}/cancellations{path}")
    started = tour.draw(image=tour.data_url, mask=tour.data_url)
    tour("GET", f"{started['links']['self']}/input")
    tour("GET", f"{started['links']['self']}/input?field=mask")
    for subject in (own, drawn["images"][0]["url"]):
        for method in ("PUT", "DELETE"):
            tour(method, f"{subject}/favourite")
            tour(method, f"{subject}/tags/mine")
    tour.stream(f"{API}/events")
    tour.stream(f"{API}/events?jobs={drawn['id']}", headers={"Last-Event-ID": "1"})


def pictures(tour: Tour, drawn: dict[str, Any]) -> None:
    """Call the routes of pictures, and those that ask workers."""
    url = drawn["images"][0]["url"]
    for path in (url, f"{url}?width=64&format=webp", f"{url}?format=jpeg&quality=50"):
        tour("GET", path)
    tour("GET", urlsplit(str(tour("GET", f"{url}/link")["url"])).path)
    tour("GET", f"{API}/images?similar_to={drawn['images'][0]['id']}&limit=2")
    tour("POST", f"{API}/interpret", json={"description": "two red apples, please", "model": tour.model})
    tour("POST", f"{API}/describe", json={"image": tour.data_url})


def bulks(tour: Tour) -> None:
    """Call the routes of bulks."""
    lines = "".join(json.dumps({"prompt": f"x {number}", "model": tour.model}) + "\n" for number in range(20))
    bulk = tour("POST", f"{API}/bulks", content=lines, headers=LINES)
    own = f"{API}/bulks/{bulk['id']}"
    tour.stand_in.bulks.add(bulk["id"])
    tour.until(lambda: tour("GET", own), lambda view: view["counts"]["succeeded"] == len(lines.splitlines()))
    for path in (f"{API}/bulks", f"{own}/results", f"{own}/results?format=zip", f"{API}/jobs?bulk={bulk['id']}"):
        tour("GET", path)
    tour.stream(f"{API}/events?bulk={bulk['id']}")
    paused = tour("POST", f"{API}/bulks", content=lines, headers=LINES)
    for verb in ("pause", "resume", "cancel"):
        tour("POST", paused["links"][verb])


def conversations(tour: Tour) -> None:
    """Call the routes of conversations."""
    talk = tour("POST", f"{API}/conversations", json={"message": "a red car", "model": tour.model})
    own = talk["links"]["self"]
    turn = tour("POST", talk["links"]["messages"], json={"message": "bluer"})
    tour("PUT", f"{own}/turns/{turn['id']}", json={"message": "greener"})
    tour("PUT", f"{own}/title", json={"title": "a car"})
    for path in (own, f"{API}/conversations", f"{API}/conversations?q=car"):
        tour("GET", path)
    tour.stream(f"{API}/events?conversation={talk['id']}")
    tour("DELETE", own)


def estimates(tour: Tour) -> None:
    """Call the routes that tell what a job costs, and those of the queue."""
    tour("GET", f"{API}/estimate?model={tour.model}")
    tour("POST", f"{API}/estimate", json={"jobs": [{"model": tour.model, "count": 9}]})
    for path in ("models", f"models/{tour.model}/names", "usage", "privacy", "audit", "openapi.json", "docs"):
        tour("GET", f"{API}/{path}")


def account(tour: Tour) -> None:
    """Call the routes of the tenant's own settings and keys."""
    tour("PUT", f"{API}/presets/mine", json={"style": "ink"})
    tour("GET", f"{API}/presets")
    tour("PUT", f"{API}/presets/mine/name", json={"name": "yours"})
    tour("DELETE", f"{API}/presets/yours")
    tour("PUT", f"{API}/pause", json={"reason": "a tour"})
    tour("GET", f"{API}/pause")
    tour("DELETE", f"{API}/pause")
    tour("PUT", f"{API}/privacy", json=tour("GET", f"{API}/privacy"))
    own = {"Authorization": f"Bearer {tour.key}"}
    made = tour("POST", f"{API}/keys", json={"label": "a tour"}, headers=own)
    tour("POST", f"{API}/keys/rotate", json={}, headers={"Authorization": f"Bearer {made['key']}"})
    tour("GET", f"{API}/keys?limit=2")
    tour("DELETE", f"{API}/keys/{made['id']}")


def operation(tour: Tour) -> None:
    """Call the routes of the operator, and those that tell how the process is."""
    paused = tour("POST", f"{API}/pauses", json={"model": tour.model})
    tour("GET", f"{API}/pauses")
    tour("DELETE", f"{API}/pauses/{paused['id']}")
    for path in ("queues", "queues/tenants", "queues/history", "workers"):
        tour("GET", f"{API}/{path}")
    for path in ("/healthz", "/readyz", "/metrics", "/metrics/targets"):
        tour("GET", path)


def webhooks(tour: Tour, prefix: str, types: str) -> None:
    """Call the routes of webhook endpoints, which are in two places."""
    fields = {"name": "a tour", "url": "https://shop.example", "event_types": ["job.failed"]}
    own = f"{prefix}/{tour('POST', prefix, json=fields)['id']}"
    for path in (types, prefix, own):
        tour("GET", path)
    tour("POST", own, json={"name": "another"})
    tour("POST", f"{own}/rotate_secret", json={})
    tour("POST", f"{own}/test", json={"event_type": "job.failed"})
    tour("DELETE", own)


def deliveries(tour: Tour) -> None:
    """Call the routes of the log of deliveries."""
    tour("GET", f"{API}/webhook_secret")
    tour("POST", f"{API}/webhook_secret/rotate", json={})
    [newest] = tour("GET", f"{API}/webhook_deliveries?limit=1")["items"]
    tour("GET", f"{API}/webhook_deliveries/{newest['id']}")
    tour("POST", f"{API}/webhook_deliveries/{newest['id']}/redeliver")
    tour("POST", f"{API}/webhook_deliveries/redeliver", json={"since": "2026-01-01T00:00:00Z"})


def names_in(pattern: str, page: bytes) -> list[str]:
    """What a pattern's group finds in a page."""
    return re.findall(pattern, page.decode())
