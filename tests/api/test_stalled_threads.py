"""`GET /readyz` names the threads of the process that make no progress."""

from __future__ import annotations

import threading

import pytest

from limner_client.local.findings import State
from limner_web import health
from tests.api.clients import ApiClient, App
from tests.api.test_remote_doctor import look
from tests.processes import eventually


def test_readiness_names_the_threads_that_hang(app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch):
    supervisor, go_on = app.extensions["limner"].supervisor, threading.Event()

    def run() -> None:
        supervisor.working()
        go_on.wait()

    ready = client.get("/readyz").json
    assert (ready["status"], ready["stalled"]) == ("ok", [])
    thread = supervisor.start("events", run)
    assert client.get("/readyz").json["stalled"] == [], "a unit of work that has just begun is no stall"
    monkeypatch.setattr(health, "SLOW_SECONDS", 0.0)
    ready = eventually(lambda: (found := client.get("/readyz").json)["stalled"] and found)
    assert (ready["status"], ready["stalled"]) == ("degraded", ["events"])
    state, found, _ = look(app)["server"]
    assert (state, "stalled: events" in found) == (State.FAIL, True)
    go_on.set()
    thread.join()
    assert client.get("/readyz").json["stalled"] == []
