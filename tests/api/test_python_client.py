"""Calls of the Python client that no other test makes, with a real service behind it."""

from __future__ import annotations

import httpx

from limner_client.client import Client
from tests.api.clients import App
from tests.api.fake_worker import finish, png, start


def test_the_client_returns_several_jobs_and_waits_for_the_end_of_one(app: App):
    with Client("http://localhost", transport=httpx.WSGITransport(app)) as client:
        ids = [client.submit({"prompt": f"cat {number}"}).id for number in range(3)]
        assert {job.id: str(job.status) for job in client.jobs_by_id(ids)} == dict.fromkeys(ids, "queued")
        finish(app, start(app, ids[1]), png("red"))
        ended = [job.id for job in client.jobs_by_id(ids, wait_seconds=5) if job.status.terminal]
        assert ended == [ids[1]]
