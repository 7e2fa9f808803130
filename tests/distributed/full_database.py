"""What a service whose database has no space left must do, and what it must do afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import httpx

from limner_client.local.findings import State
from limner_client.operations.remote_doctor import examine
from limner_shared.domain.jobs import JobState
from tests.processes import eventually

LONG: Final = {"prompt": "a" * 900, "steps": 150}
"""A job of three seconds, with a prompt that needs space."""


class Watched:
    """A service over HTTP, and the jobs that it accepted."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.accepted: list[str] = []

    def submit(self) -> httpx.Response:
        answer = self.client.post("/api/v1/jobs", json=LONG | {"seed": len(self.accepted)})
        if answer.status_code == 202:
            self.accepted.append(answer.json()["id"])
        return answer

    def views(self) -> list[dict[str, Any]]:
        return [self.client.get(f"/api/v1/jobs/{job}").json() for job in self.accepted]

    def health(self) -> dict[str, Any]:
        answer = self.client.get("/readyz")
        assert answer.status_code == 200, "the service can still be read"
        return answer.json()


@contextmanager
def watched(port: int) -> Iterator[Watched]:
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
        yield Watched(client)


def outlasts(service: Watched, fill: Callable[[], None], free: Callable[[], None]) -> None:
    """Fill the disk while jobs run: nothing fails, all say why, and all ends well once there is space."""
    for _ in range(12):
        assert service.submit().status_code == 202
    eventually(lambda: any(view["status"] == JobState.RUNNING for view in service.views()), 60)
    fill()
    refused = eventually(lambda: answer if (answer := service.submit()).status_code == 507 else None, 60)
    assert (refused.json()["code"], "Retry-After" in refused.headers) == ("database_full", True)
    assert (service.health()["status"], service.health()["database"]) == ("degraded", "full")
    found = {check.name: check for check in examine(service.client, "", "")}
    assert found["database"].state is State.FAIL
    assert "disk is full" in found["database"].found
    eventually(lambda: len(service.views()) == len(service.accepted))
    free()
    eventually(lambda: {view["status"] for view in service.views()} == {JobState.SUCCEEDED}, 120, every=0.5)
    assert {view["attempts"] for view in service.views()} == {1}, "no work was lost"
    eventually(lambda: service.submit().status_code == 202, 30)
    eventually(lambda: service.health()["status"] == "ok", 60)
