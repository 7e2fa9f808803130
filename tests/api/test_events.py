"""Event streams: of a tenant, a bulk, a conversation or some jobs, and what they missed."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import delete, update
from sqlalchemy.orm import Session

from limner_shared import metrics
from limner_shared.db import event_queries, ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Event, Job
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.messaging.hints import JobHint
from limner_web.api import events as events_module
from limner_web.updates import tail as tail_module
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_retention import both_databases


class Events:
    """A stream, read one event at a time."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks = blocks
        self.last_id = ""

    def next(self) -> tuple[str, dict[str, Any]]:
        """The name and data of the next event."""
        while True:
            fields = dict(line.split(": ", 1) for line in next(self.blocks).decode().strip().splitlines())
            if "event" in fields:
                self.last_id = fields["id"]
                return fields["event"], json.loads(fields["data"])

    def until(self, wanted: tuple[str, dict[str, Any]]) -> None:
        """Read up to an event of which these members are given."""
        while True:
            name, data = self.next()
            if name == wanted[0] and wanted[1].items() <= data.items():
                return


@contextmanager
def follow(app: App, query: str = "", **headers: str) -> Iterator[Events]:
    answer = app.test_client().get(f"/api/v1/events{query}", headers=headers, buffered=False)
    assert answer.status_code == 200, answer.json
    blocks = answer.iter_encoded()
    assert next(blocks).startswith(b"retry")
    yield Events(blocks)
    answer.close()


def submit(client: ApiClient) -> str:
    return client.post("/api/v1/jobs", json={"prompt": "a cat"}).json["id"]


def submit_silently(app: App) -> str:
    """Submit a job without hints, as if Redis were away."""
    services = app.extensions["limner"]
    card, spec = services.catalogue.resolve(JobRequest(prompt="a cat", seed=1))
    with services.database.write() as session:
        new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)
        return ledger.submit(session, ledger.LOCAL_TENANT, [new]).changes[0].id


@both_databases
def test_events_whose_hints_were_lost_come_from_the_table(app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tail_module, "TAIL_SECONDS", 0.05)
    job_id = submit_silently(app)
    with follow(app) as events:
        claim = start(app, job_id)
        events.until(("job", {"id": job_id, "status": "running"}))
        services = app.extensions["limner"]
        with services.database.write() as session:
            ledger.finish(session, [ledger.Result(job_id, claim.attempt, [])])
        events.until(("job", {"id": job_id, "status": "succeeded"}))


@both_databases
def test_a_stream_continues_after_the_last_event_without_gaps(app: App, client: ApiClient):
    before = submit(client)
    start(app, before)
    with follow(app) as events:
        first = submit(client)
        events.until(("job", {"id": first}))
    start(app, first)
    second = submit(client)
    lines = b'{"prompt": "a"}\n{"prompt": "b"}\n'
    bulk = client.post("/api/v1/bulks", data=lines, content_type="application/jsonl").json
    client.post(bulk["links"]["cancel"])
    with follow(app, **{"Last-Event-ID": events.last_id}) as again:
        seen = {json.dumps(data | {"event": name}, sort_keys=True) for name, data in (again.next() for _ in range(4))}
    found = [json.loads(each) for each in seen]
    assert {(each["event"], each["id"], each.get("status")) for each in found} >= {
        ("job", first, "running"),
        ("job", second, "queued"),
        ("bulk", bulk["id"], None),
    }


@both_databases
def test_a_stream_of_a_bulk_sends_only_its_events(app: App, client: ApiClient):
    bulk = client.post("/api/v1/bulks", data=b'{"prompt": "a"}\n', content_type="application/jsonl").json
    [job] = client.get(f"/api/v1/jobs?bulk={bulk['id']}").json["items"]
    with follow(app, f"?bulk={bulk['id']}") as events:
        submit(client)
        finish(app, start(app, job["id"]), png("red"))
        assert events.next() == ("bulk", {"id": bulk["id"]})
    with follow(app, f"?bulk={bulk['id']}", **{"Last-Event-ID": "0"}) as events:
        assert events.next() == ("bulk", {"id": bulk["id"]})
    with follow(app, f"?jobs={job['id']}", **{"Last-Event-ID": "0"}) as events:
        assert events.next() == ("job", {"id": job["id"], "status": "succeeded", "version": 3})


@both_databases
def test_a_stream_of_a_conversation_follows_its_new_messages(app: App, client: ApiClient):
    talk = client.post("/api/v1/conversations", json={"message": "a cat"}).json
    with follow(app, f"?conversation={talk['id']}") as events:
        submit(client)
        later = client.post(talk["links"]["messages"], json={"message": "bluer"}).json["job"]["id"]
        assert events.next() == ("job", {"id": later, "status": "queued", "version": 1})


def test_the_jobs_of_a_conversation_are_not_read_for_each_job_of_others(
    app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch
):
    talk = client.post("/api/v1/conversations", json={"message": "a cat"}).json
    reads: list[str] = []
    read = event_queries.conversation_jobs

    def counted(session: Session, conversation_id: str) -> list[str]:
        reads.append(conversation_id)
        return read(session, conversation_id)

    with follow(app, f"?conversation={talk['id']}") as events:
        monkeypatch.setattr(event_queries, "conversation_jobs", counted)
        begun = time.monotonic()
        for _ in range(20):
            submit(client)
        later = client.post(talk["links"]["messages"], json={"message": "bluer"}).json["job"]["id"]
        assert events.next() == ("job", {"id": later, "status": "queued", "version": 1})
        assert len(reads) <= 2 + (time.monotonic() - begun) / events_module.READ_SECONDS


def test_events_that_wait_for_a_slow_reader_are_sent_again_after_it_reconnects(app: App):
    jobs = [submit_silently(app) for _ in range(3)]
    query = f"?jobs={','.join(jobs)}"
    with follow(app, query) as events:
        for job_id in jobs:
            start(app, job_id)
        app.extensions["limner"].feeds.tail.advance()
        seen = {events.next()[1]["id"], events.next()[1]["id"]}
        last_id = events.last_id
    (missing,) = {*jobs} - seen
    with follow(app, query, **{"Last-Event-ID": last_id}) as events:
        events.until(("job", {"id": missing}))


def test_a_stream_that_cannot_begin_is_not_counted(app: App, monkeypatch: pytest.MonkeyPatch):
    feeds = app.extensions["limner"].feeds

    def breaks(*_arguments: object) -> None:
        raise KeyError("x")

    for place, name in ((metrics.EVENT_STREAMS, "inc"), (event_queries, "newest_event")):
        with monkeypatch.context() as patch:
            patch.setattr(place, name, breaks)
            with pytest.raises(KeyError), feeds.follow(ledger.LOCAL_TENANT):
                pass
    monkeypatch.setattr(event_queries, "newest_event", breaks)
    assert not feeds.tail.advance()  # without streams it reads nothing


def test_a_deletion_is_streamed(app: App, client: ApiClient):
    job_id = submit(client)
    client.post(f"/api/v1/jobs/{job_id}/cancel")
    with follow(app) as events:
        client.delete(f"/api/v1/jobs/{job_id}")
        events.until(("deleted", {"id": job_id}))


def test_a_position_from_before_a_restore_makes_a_client_read_again(app: App, client: ApiClient):
    start(app, submit(client))
    with follow(app, **{"Last-Event-ID": "123456"}) as events:
        assert events.next() == ("reset", {})
    with follow(app, **{"Last-Event-ID": events.last_id}) as events:
        job_id = submit(client)
        start(app, job_id)
        assert events.next()[0] == "job"


@both_databases
def test_a_client_that_missed_too_much_is_told_to_read_again(
    app: App, client: ApiClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_queries, "MAX_READ", 1)
    for _ in range(2):
        start(app, submit(client))
    with follow(app, **{"Last-Event-ID": "0"}) as events:
        assert events.next() == ("reset", {})


@both_databases
def test_events_of_other_tenants_do_not_make_a_client_read_again(
    app: App, client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(event_queries, "MAX_READ", 3)
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
    pictured, running, old = (submit(client) for _ in range(3))
    finish(app, start(app, pictured), png("red"))
    finish(app, start(app, old), png("red"))
    with database.write() as session:
        session.execute(update(Job).where(Job.id.in_((pictured, old))).values(finished_at=1.0))
    with database.read() as session:
        before = event_queries.newest_event(session)
    others = [submit(client) for _ in range(4)]
    with database.write() as session:
        session.execute(update(Job).where(Job.id.in_(others)).values(tenant_id="tenant_other"))
    for job_id in (*others, running):
        start(app, job_id)
    [image] = client.get(f"/api/v1/jobs/{pictured}").json["images"]
    assert client.delete(image["url"]).status_code in (200, 204)

    def missed(tenant_id: str) -> list[str] | None:
        with database.read() as session:
            events = event_queries.missed_events(session, tenant_id, before, None)
        return None if events is None else [event.job_id for event in events if event.id > before]

    assert missed(ledger.LOCAL_TENANT) == [running, pictured]
    assert missed("tenant_none") == []
    assert missed("tenant_other") is None, "more of its own than can be read"
    with follow(app, **{"Last-Event-ID": str(before)}) as events:
        events.until(("job", {"id": pictured}))
    monkeypatch.setattr(event_queries, "MAX_SCANNED", 4)
    assert missed("tenant_none") is None


def test_a_stream_of_something_unknown_is_refused(client: ApiClient):
    for query, status in {
        "bulk=bulk_none": 404,
        "conversation=conv_none": 404,
        "jobs=x": 422,
        "bulk=bulk_1&jobs=job_1": 422,
        "more=1": 422,
    }.items():
        assert client.get(f"/api/v1/events?{query}").status_code == status, query


def test_an_event_wakes_only_the_streams_that_it_concerns(app: App):
    feeds = app.extensions["limner"].feeds
    with (
        feeds.follow("tenant_a", ("job_1", "job_2")) as some,
        feeds.follow("tenant_a", ("bulk_1",)) as bulk,
        feeds.follow("tenant_a") as everything,
        feeds.follow("tenant_b") as stranger,
    ):
        for job_id, bulk_id in (("job_1", None), ("job_3", "bulk_1"), ("job_2", "bulk_1")):
            feeds._deliver(JobHint(id=job_id, tenant_id="tenant_a", bulk_id=bulk_id, version=1))
        queued = [[stream.queue.get().id for _ in range(stream.queue.qsize())] for stream in (some, bulk, everything)]
        assert queued == [["job_1", "job_2"], ["job_3", "job_2"], ["job_1", "job_3", "job_2"]]
        assert stranger.queue.empty()
    assert not feeds._feeds


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_an_event_that_is_committed_late_is_delivered_and_the_position_waits_for_it(
    app: App, client: ApiClient, database: Database
):
    heard: list[str] = []
    services = app.extensions["limner"]
    tail = tail_module.Tail(database, services.feeds.tail._supervisor, lambda each: heard.append(each.id))
    tail._started = True  # this test advances it itself
    late, early = submit_silently(app), submit_silently(app)
    with tail.followed():
        with database.write() as slow:
            ledger.claim(slow, [late], "a worker", 60)  # takes an id, and commits later
            slow.flush()
            start(app, early)
            tail.advance()
            assert heard == [early]
            waiting = tail.position
        tail.advance()
        assert heard == [early, late]
        assert tail.position > waiting
        with database.write() as session:
            session.execute(delete(Event))
        tail.advance()
