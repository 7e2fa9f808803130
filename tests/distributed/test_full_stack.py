"""Web, dispatcher and worker as separate processes with one PostgreSQL and one Redis, as on servers."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from httpx_sse import ServerSentEvent

from limner_client.client import Client
from limner_client.local.embedded_valkey import free_port
from tests.processes import Service, eventually


@pytest.mark.long
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_job_and_a_bulk_over_http_give_pictures(service: Service):
    service.settings = service.settings.model_copy(update={"port": free_port(), "web_workers": 2})
    service.start("serve")
    service.start("dispatcher")
    service.start_workers()
    with Client(f"http://127.0.0.1:{service.settings.port}") as client:
        eventually(lambda: reachable(client), 30)
        job = client.submit({"prompt": "a red apple", "steps": 4})
        heard = {(event.event, json.loads(event.data)["id"]) for event in until_done(client, job.id)}
        assert ("job", job.id) in heard
        done = client.job(job.id)
        assert done.status == "succeeded", service.logs()
        assert client.download(done.images[0]).startswith(b"\x89PNG")
        file = service.folder / "prompts.jsonl"
        file.write_text("".join(json.dumps({"prompt": f"cat {n}", "steps": 2, "width": 64}) + "\n" for n in range(20)))
        bulk = client.submit_bulk(file)
        eventually(lambda: client.bulk(bulk.id).status == "done", 60, every=0.3)
        assert [job.status for job in client.bulk_results(bulk.id)] == ["succeeded"] * 20


def reachable(client: Client) -> bool:
    try:
        return bool(client.models())
    except Exception:  # noqa: BLE001 - any error means that it is not up yet
        return False


def until_done(client: Client, job_id: str) -> Iterator[ServerSentEvent]:
    """Yield all events from the first one on, until one of the job comes after it succeeded."""
    for event in client.events(last_event_id="0"):
        yield event
        if event.event == "job" and client.job(job_id).status == "succeeded":
            return
