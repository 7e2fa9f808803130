"""Applications that deliver webhooks to receivers on loopback, and clients of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from werkzeug.serving import make_server

from limner_dispatcher.dispatcher import ends_pass
from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.leadership import Leadership
from limner_dispatcher.webhooks.deliveries import DUTY, Deliveries
from limner_shared.db.engine import Database
from limner_shared.domain.catalogue import Catalogue
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from tests.api.clients import ApiClient, App
from tests.processes import eventually

JOBS, BULKS = "/api/v1/jobs", "/api/v1/bulks"

ENDPOINTS, DELIVERIES, SECRET = "/api/v1/webhook_endpoints", "/api/v1/webhook_deliveries", "/api/v1/webhook_secret"

INTERNAL = ("127.0.0.1",)


@pytest.fixture
def app(make_app: Callable[..., App]) -> App:
    return make_app(webhook_internal_targets=INTERNAL)


@pytest.fixture
def delivering(settings: Settings, database: Database, catalogue: Catalogue) -> Iterator[None]:
    """A dispatcher's delivery duty on a thread."""
    changed = settings.model_copy(update={"webhook_internal_targets": INTERNAL, "webhook_timeout_seconds": 5.0})
    leadership = Leadership(database, DUTY, "a test")
    duty = Deliveries(changed, database, leadership, ItemRunner(ends_pass), Supervisor(), catalogue)
    ended = threading.Event()

    def run() -> None:
        while not ended.is_set():
            with leadership.write():
                pass  # as a whole dispatcher does for its other duties
            duty.wait(min(0.05, duty.round()))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    eventually(lambda: leadership.leads)
    yield
    ended.set()
    thread.join(10)
    duty.close()


@contextmanager
def served(app: App) -> Iterator[str]:
    """Serve this application over HTTP; yields its URL."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def create_endpoint(client: ApiClient, url: str, *types: str, change: dict[str, Any] | None = None):
    body = {"name": "shop", "url": url, "event_types": types or ["job.canceled"]}
    return client.post(ENDPOINTS, json=body | (change or {}))


def cancel(client: ApiClient, job_id: str) -> None:
    assert client.post(f"{JOBS}/{job_id}/cancel").status_code == 200
