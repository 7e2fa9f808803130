"""Requests through the front door reach the right cell as they come, and a cell's faults stay its own."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest
from openai import InternalServerError, OpenAI

from limner_client.client import Client
from limner_shared.domain.views import JobView
from limner_shared.errors import LimnerError
from tests.cells.conftest import MAX_CONNECTIONS, Place
from tests.processes import eventually

pytestmark = pytest.mark.long
JOB = {"prompt": "a red apple", "steps": 2}
LONG_JOB = {"prompt": "a red apple", "steps": 150}
"""Three seconds."""


def drawn(client: Client) -> JobView:
    """A finished job."""
    [*_, job] = client.wait(client.submit(JOB).id)
    assert job.status == "succeeded"
    return job


def test_a_request_goes_to_the_cell_that_its_key_names(place: Place) -> None:
    for cell in ("a", "b"):
        key = place.key(cell)
        with place.client(key) as client:
            job = drawn(client)
            assert client.download(job.images[0]).startswith(b"\x89PNG")
            assert [each.id for each in client.jobs().items] == [job.id]
        openai = OpenAI(base_url=f"{place.url}/v1", api_key=key)
        answer: Any = openai.images.generate(model="null", prompt="a cat", size="auto", response_format="b64_json")
        assert answer.data[0].b64_json
        with place.http() as http:  # AUTOMATIC1111's clients send the key as a password
            assert http.get("/sdapi/v1/sd-models", auth=("me", key)).status_code == 200
            assert http.get("/api/v1/jobs", headers={"Authorization": f"bearer   {key}"}).status_code == 200


def test_a_key_without_a_cell_is_one_of_the_default_cell(place: Place) -> None:
    key = place.key("a", tag=False)
    assert place.status(key) == 200
    with place.http(Authorization=f"Bearer {key}") as http:
        new = http.post("/api/v1/keys/rotate", json={"overlap_seconds": 60}).json()["key"]
    assert new.startswith("lmn_a-")
    assert place.status(new) == 200


def test_a_wrong_key_is_refused_for_any_cell(place: Place) -> None:
    key = place.key("a", scopes=("admin",))
    for wrong in ("sk-other", "lmn_", "lmn_zz-0_1_2", key.replace("lmn_a-", "lmn_b-"), key.replace("a-", ""), "ü" * 9):
        with place.http() as http:
            answer = http.get("/api/v1/jobs", headers=[(b"Authorization", f"Bearer {wrong}".encode())])
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), wrong
    with place.http() as http:
        assert http.get("/api/v1/jobs").status_code == 401
        assert http.get("/sign-in").status_code == 200
        assert http.get("/api/v1/keys", headers={"Authorization": f"Bearer {key}"}).json()["items"]


def test_a_browser_stays_in_the_cell_that_it_signed_in_to(place: Place) -> None:
    with place.http() as browser:
        for cell in ("b", "a"):  # the second time, the form counts, not the cookie of the first
            key = place.key(cell)
            with place.client(key) as client:
                job = drawn(client)
            assert browser.post("/session", data={"key": key, "next": "/"}).status_code == 303
            shown = browser.get("/api/v1/jobs").json()["items"]
            assert [each["id"] for each in shown] == [job.id]
            assert browser.get("/").status_code == 200


def test_a_link_leads_to_its_cell_regardless_of_the_browsers_cookie(place: Place) -> None:
    with place.client(place.key("a")) as client, place.client(place.key("b")) as other:
        urls = [each.link(drawn(each).images[0].id).url for each in (client, other)]
    for cookies in ({}, {"limner_key": place.key("b")}):
        for url in (*urls, urls[1].replace("~", "%7E"), urls[0].replace("a~", "")):
            assert httpx.get(url, cookies=cookies, trust_env=False).content.startswith(b"\x89PNG"), url
        refused = httpx.get(urls[0].replace("a~", "b~"), cookies=cookies, trust_env=False)
        assert refused.json()["code"] == "invalid_link"


def test_events_come_while_the_job_runs(place: Place) -> None:
    with place.client(place.key("b")) as client:
        job = client.submit(LONG_JOB)
        for event in client.events(last_event_id="0"):
            if event.event == "job" and json.loads(event.data)["id"] == job.id:
                break
        assert not client.job(job.id).status.terminal
        assert client.job(job.id, wait_seconds=25).status == "succeeded"  # a long poll


def test_an_upload_reaches_the_cell_before_it_has_ended(place: Place) -> None:
    key, arrived = place.key("b"), threading.Event()
    url = place.cells["b"].url

    def is_there() -> bool:
        return httpx.get(f"{url}/readyz", trust_env=False).json()["load"]["bulks"]["held"] == 1

    def lines() -> Iterator[bytes]:
        yield json.dumps(JOB).encode() + b"\n"
        eventually(is_there, 20)
        arrived.set()
        for _ in range(199):
            yield json.dumps(JOB | {"prompt": "x" * 1000}).encode() + b"\n"

    with place.http(Authorization=f"Bearer {key}") as http:
        answer = http.post("/api/v1/bulks", content=lines(), headers={"Content-Type": "application/x-ndjson"})
    assert arrived.is_set()
    assert (answer.status_code, answer.json()["total"]) == (202, 200), answer.text


@dataclass
class Bystander:
    """A tenant of one cell that works all the time and notes what goes wrong."""

    client: Client
    failures: list[str] = field(default_factory=list[str])
    done: int = 0
    heard: int = 0
    streams: int = 0

    def work(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            try:
                drawn(self.client)
                self.done += 1
            except (LimnerError, AssertionError, httpx.HTTPError) as error:
                self.failures.append(repr(error))

    def listen(self, stopped: threading.Event) -> None:
        self.streams += 1
        try:
            for _ in self.client.events(last_event_id="0"):
                self.heard += 1
                if stopped.is_set():
                    return
        except (LimnerError, httpx.HTTPError) as error:
            self.failures.append(repr(error))


@contextmanager
def bystander(place: Place, cell: str) -> Iterator[Bystander]:
    """A tenant of `cell` that notices nothing while the context lasts, and does jobs in it."""
    stopped = threading.Event()
    key = place.key(cell)
    with place.client(key) as client, place.client(key) as listening, ThreadPoolExecutor(2) as threads:
        tenant, listener = Bystander(client), Bystander(listening)
        running = [threads.submit(listener.listen, stopped), threads.submit(tenant.work, stopped)]
        try:
            eventually(lambda: tenant.done and listener.heard, 20)
            yield tenant
            before, heard = tenant.done, listener.heard
            eventually(lambda: tenant.done > before and listener.heard > heard, 20)
        finally:
            stopped.set()
            client.submit(JOB)  # the listener's last event
        [each.result(20) for each in running]
        assert tenant.failures == listener.failures == []


def test_a_killed_cell_is_noticed_only_by_its_own_tenants_and_loses_nothing(place: Place) -> None:
    key = place.key("a")
    with place.client(key) as client, bystander(place, "b") as other:
        ids = [client.submit(JOB | {"steps": 20}).id for _ in range(10)]
        place.kill("a")
        before = other.done
        with place.http(Authorization=f"Bearer {key}") as http:
            eventually(lambda: http.get("/api/v1/jobs").status_code == 503)
            answer = http.post("/api/v1/jobs", json=JOB)
            assert answer.json()["code"] == "service_unavailable"
            assert answer.headers["Retry-After"] == "5"
            assert http.get("/sign-in").status_code == 200  # what needs no key comes from another cell
        with pytest.raises(InternalServerError, match="unavailable"):
            OpenAI(base_url=f"{place.url}/v1", api_key=key, max_retries=0).models.list()
        eventually(lambda: other.done > before + 5, 20)
        place.revive("a", key)
        eventually(lambda: all(client.job(each).status == "succeeded" for each in ids), 60, every=0.3)


def ask(place: Place, key: str) -> int:
    """The status of a request on a new connection, by a client that is cheap enough to be hundreds."""
    with closing(HTTPConnection(place.url.removeprefix("http://"), timeout=60)) as connection:
        connection.request("GET", "/api/v1/jobs", headers={"Authorization": f"Bearer {key}"})
        return connection.getresponse().status


def test_a_cell_that_hangs_holds_no_more_connections_than_its_share(place: Place) -> None:
    other, crowd = place.key("b"), MAX_CONNECTIONS + 50
    with bystander(place, "b"), ThreadPoolExecutor(crowd) as threads:
        asked = [threads.submit(ask, place, "lmn_c-0_0_0") for _ in range(crowd)]
        try:
            eventually(lambda: sum(each.done() for each in asked) >= crowd - 80, 30)
            assert {each.result() for each in asked if each.done()} == {503}
            assert ask(place, other) == 200
            with place.http() as http:  # what needs no key comes from a cell that answers
                assert [http.get("/sign-in").status_code for _ in range(4)] == [200] * 4
            assert sum(not each.done() for each in asked) >= 70
        finally:
            place.hung.released.set()
        assert {each.result(20) for each in asked} == {200, 503}


def test_what_a_frozen_cell_holds_ends_as_soon_as_its_check_fails(place: Place) -> None:
    key = place.key("a")
    with bystander(place, "b"), ThreadPoolExecutor(10) as threads:
        place.signal_web("a", signal.SIGSTOP)
        try:
            asked = [threads.submit(ask, place, key) for _ in range(10)]
            assert {each.result(60) for each in asked} <= {502, 503}
        finally:
            place.signal_web("a", signal.SIGCONT)
    eventually(lambda: place.status(key) == 200)


def test_a_tenant_moves_by_a_key_in_another_cell(place: Place) -> None:
    old = place.key("a", tenant="mover")
    with place.client(old) as client:
        finished, running = drawn(client), client.submit(LONG_JOB)
    reading = place.key("a", tenant="mover", scopes=("read",))
    new = place.key("b", tenant="mover")
    revoke(place, "a", old)
    with place.client(reading) as before, place.client(new) as after:
        assert [each.id for each in after.jobs().items] == []  # jobs stay where they are
        drawn(after)
        assert before.download(finished.images[0]).startswith(b"\x89PNG")
        assert before.job(running.id, wait_seconds=25).status == "succeeded"
    assert place.status(old) == 401


def revoke(place: Place, cell: str, key: str) -> None:
    """End a key, as the tenant's administrator does."""
    admin = place.key(cell, tenant="mover", scopes=("admin",))
    with place.http(Authorization=f"Bearer {admin}") as http:
        assert http.delete(f"/api/v1/keys/{key.split('_')[1]}").status_code == 204
