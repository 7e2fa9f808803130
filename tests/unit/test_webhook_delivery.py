"""Delivery of webhooks to real receivers on loopback, with both databases."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from openai import OpenAI
from replicate.webhook import Webhooks, WebhookSigningSecret
from sqlalchemy import func, select, update
from standardwebhooks import Webhook as StandardWebhook
from tests.receivers import Answer, failure, raw_server, receiver

from limner_dispatcher.dispatcher import ends_pass
from limner_dispatcher.duties import Isolation
from limner_dispatcher.leadership import Leadership, NotLeading
from limner_dispatcher.webhooks import deliveries as duty
from limner_dispatcher.webhooks.bodies import Bodies
from limner_dispatcher.webhooks.deliveries import Deliveries
from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import NewImage, NewJob, Result
from limner_shared.db.signed_links import SignedLinks
from limner_shared.db.tables import Job, Leader, Tenant
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEvent, WebhookSecret
from limner_shared.db.webhooks import deliveries, endpoints, log
from limner_shared.db.webhooks.endpoints import EndpointFields
from limner_shared.db.webhooks.outbox import NewEvent, emit
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.domain.webhooks import GIVE_UP_SECONDS, EventType
from limner_shared.errors import GenerationFailed, InvalidState
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor

TENANT = ledger.LOCAL_TENANT
EVERY_JOB_EVENT = [each.value for each in EventType if each.startswith("job.")]


@pytest.fixture
def make_duty(settings: Settings, database: Database, catalogue: Catalogue) -> Iterator[Callable[..., Deliveries]]:
    """Creates dispatchers' delivery duties; the lead of each ends with the test."""
    made: list[Deliveries] = []

    def make(owner: str = "a dispatcher", **changes: Any) -> Deliveries:
        changed = settings.model_copy(update={"webhook_internal_targets": ("127.0.0.0/8", "localhost"), **changes})
        leadership = Leadership(database, duty.DUTY, owner)
        made.append(Deliveries(changed, database, leadership, Isolation(ends_pass), Supervisor(), catalogue))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def new_job(database: Database, catalogue: Catalogue) -> Callable[..., str]:
    """Queues a job with a webhook, or without."""

    def submit(
        url: str | None = None, events: list[str] | None = None, bulk_id: str | None = None, line: int = 1
    ) -> str:
        _, spec = catalogue.resolve(JobRequest(prompt="a secret apple"))
        webhook = None if url is None else {"url": url, "events": events or EVERY_JOB_EVENT}
        with database.write() as session:
            new = NewJob(spec, 1, Priority.NORMAL, webhook=webhook, bulk_line=line if bulk_id else None)
            return ledger.submit(session, TENANT, [new], bulk_id=bulk_id).changes[0].id

    return submit


def run_until(deliveries_duty: Deliveries, done: Callable[[], object], seconds: float = 20) -> None:
    """Run rounds of the duty until `done`."""
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the deliveries did not arrive"
        deliveries_duty.wait(min(0.05, deliveries_duty.round()))


def cancel(database: Database, *job_ids: str) -> None:
    with database.write() as session:
        assert len(ledger.cancel(session, Job.id.in_(job_ids))) == len(job_ids)


def rows(database: Database) -> list[WebhookDelivery]:
    with database.read() as session:
        return list(session.scalars(select(WebhookDelivery).order_by(WebhookDelivery.id)))


def states(database: Database) -> list[str]:
    return [row.state for row in rows(database)]


def attempts(database: Database) -> list[WebhookAttempt]:
    with database.read() as session:
        return list(session.scalars(select(WebhookAttempt).order_by(WebhookAttempt.id)))


def endpoint(database: Database, url: str, *types: EventType) -> tuple[str, str]:
    """Create an endpoint; returns its id and its secret."""
    with database.write() as session:
        fields = EndpointFields("an endpoint", url, [each.value for each in types or tuple(EventType)])
        row, secret = endpoints.create(session, TENANT, fields, actor="a test")
        return row.id, secret


def make_due(database: Database) -> None:
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(next_at=now()))


# --- the outbox ------------------------------------------------------------------------------------------------------


def test_an_event_is_written_with_the_change_and_not_without_it(database: Database, new_job: Callable[..., str]):
    job_id = new_job("https://shop.example/x")
    with pytest.raises(RuntimeError), database.write() as session:  # noqa: PT012
        assert ledger.cancel(session, Job.id == job_id)[0].notifies
        raise RuntimeError
    assert rows(database) == []
    cancel(database, job_id)
    [row] = rows(database)
    assert (row.state, row.url, row.attempt) == ("pending", "https://shop.example/x", 0)


def test_each_change_of_a_job_is_told_once(database: Database, new_job: Callable[..., str]):
    succeeds, fails, is_canceled = (new_job("https://shop.example") for _ in range(3))
    with database.write() as session:
        claims = {claim.id: claim for claim in ledger.claim(session, [succeeds, fails], "a worker", 60)}
        first, second = claims[succeeds], claims[fails]
        assert first.change.notifies
        ledger.hand_back(session, [first.key])
        [first] = ledger.claim(session, [succeeds], "another worker", 60)
        ledger.finish(session, [Result(first.id, first.attempt, [NewImage("ab" * 32, "image/png", 8, 8, 9, 7, {})])])
        assert ledger.finish(session, [Result(first.id, first.attempt, [])]) == []
        ledger.fail(session, Result(second.id, second.attempt, error=GenerationFailed()))
    cancel(database, is_canceled)
    with database.read() as session:
        events = sorted(tuple(row) for row in session.execute(select(WebhookEvent.subject_id, WebhookEvent.type)))
    told = {succeeds: "succeeded", fails: "failed"}
    expected = [(job, f"job.{state}") for job, end in told.items() for state in ("started", end)]
    assert events == sorted([*expected, (is_canceled, "job.canceled")])


def test_a_tenant_without_receivers_writes_no_events(database: Database, new_job: Callable[..., str]):
    endpoint(database, "https://shop.example", EventType.BULK_COMPLETED)
    job_id = new_job("https://shop.example", ["job.failed"])
    with database.write() as session:
        assert not ledger.cancel(session, Job.id == job_id)[0].notifies
        assert session.scalar(select(func.count()).select_from(WebhookEvent)) == 0


def test_a_damaged_webhook_does_not_stop_its_job_from_ending(database: Database, new_job: Callable[..., str]):
    job_id = new_job("https://shop.example")
    with database.write() as session:
        session.execute(update(Job).values(webhook={"nonsense": 1}))
    cancel(database, job_id)
    assert rows(database) == []


def bulk_of(database: Database, new_job: Callable[..., str], jobs: int) -> tuple[str, list[str]]:
    webhook = {"url": "https://shop.example/bulk", "events": ["bulk.completed", "bulk.canceled"]}
    with database.write() as session:
        bulk_id = ledger.open_bulk(session, TENANT, webhook)
    return bulk_id, [new_job(bulk_id=bulk_id, line=line) for line in range(jobs)]


def bulk_events(database: Database) -> list[str]:
    with database.read() as session:
        return list(session.scalars(select(WebhookEvent.type)))


def test_a_bulk_is_completed_when_its_last_job_ends(database: Database, new_job: Callable[..., str]):
    bulk_id, jobs = bulk_of(database, new_job, 3)
    with database.write() as session:
        ledger.seal_bulk(session, bulk_id, 3)
    cancel(database, *jobs[:2])
    assert bulk_events(database) == []
    cancel(database, jobs[2])
    assert bulk_events(database) == ["bulk.completed"]


def test_a_bulk_whose_jobs_ended_while_it_was_loading_is_completed_when_it_is_sealed(
    database: Database, new_job: Callable[..., str]
):
    bulk_id, jobs = bulk_of(database, new_job, 2)
    with database.write() as session:
        ledger.touch_bulk(session, bulk_id, 1)
    cancel(database, *jobs)
    assert bulk_events(database) == []
    with database.write() as session:
        ledger.seal_bulk(session, bulk_id, 2)
    assert bulk_events(database) == ["bulk.completed"]


def test_a_canceled_bulk_tells_so_once_its_jobs_are_canceled(database: Database, new_job: Callable[..., str]):
    bulk_id, _ = bulk_of(database, new_job, 3)
    with database.write() as session:
        ledger.seal_bulk(session, bulk_id, 3)
        ledger.cancel_bulk(session, bulk_id)
        ledger.sweep_bulk(session, bulk_id, 2)
    assert bulk_events(database) == []
    for _ in range(2):
        with database.write() as session:
            ledger.sweep_bulk(session, bulk_id, 2)
    assert bulk_events(database) == ["bulk.canceled"]


def test_anything_can_emit_events_with_its_own_data(database: Database, make_duty: Callable[..., Deliveries]):
    with receiver() as shop:
        endpoint(database, shop.url, EventType.BATCH_COMPLETED)
        with database.write() as session:
            events = [
                NewEvent(TENANT, kind, "batch_1", data={"id": "batch_1"})
                for kind in (EventType.BATCH_COMPLETED, EventType.BATCH_FAILED)
            ]
            assert emit(session, events)
        run_until(make_duty(), lambda: shop.requests)
        [request] = shop.requests
        assert (request.event["type"], request.event["data"]) == ("batch.completed", {"id": "batch_1"})


# --- one delivery ----------------------------------------------------------------------------------------------------


def test_a_delivery_passes_the_verification_of_all_official_clients(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        _, secret = endpoint(database, shop.url, EventType.JOB_CANCELED)
        job_id = new_job()
        cancel(database, job_id)
        run_until(make_duty(), lambda: states(database) == ["delivered"])
    [request] = shop.requests
    with OpenAI(api_key="x", webhook_secret=secret) as client:
        event: Any = client.webhooks.unwrap(request.body, request.headers)
    assert (event.type, event.object, event.data.id) == ("job.canceled", "event", job_id)
    assert StandardWebhook(secret).verify(request.body, request.headers)["id"] == request.headers["webhook-id"]
    text = request.body.decode()
    Webhooks.validate(headers=request.headers, body=text, secret=WebhookSigningSecret(key=secret), tolerance=300)
    assert request.event["data"]["prompt"] == "a secret apple"
    assert request.headers["content-type"] == "application/json"


def test_during_the_overlap_both_secrets_verify_and_afterwards_only_the_new_one(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        endpoint_id, old = endpoint(database, shop.url, EventType.JOB_CANCELED)
        for overlap in (3600, 0):
            with database.write() as session:
                new = endpoints.rotate(session, TENANT, endpoint_id, overlap, actor="a test")
            cancel(database, new_job())
            run_until(make_duty(), lambda: "pending" not in states(database) and "sending" not in states(database))
            request = shop.requests[-1]
            StandardWebhook(new).verify(request.body, request.headers)
            if overlap:
                StandardWebhook(old).verify(request.body, request.headers)
                old = new
            else:
                with pytest.raises(Exception, match="No matching signature"):
                    StandardWebhook(old).verify(request.body, request.headers)


def test_the_webhook_of_a_job_is_signed_with_the_secret_of_its_tenant(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        cancel(database, new_job(shop.url))
        run_until(make_duty(), lambda: shop.requests)
    with database.write() as session:
        secret = endpoints.current_secret(session, TENANT)
    StandardWebhook(secret).verify(shop.requests[0].body, shop.requests[0].headers)


def test_the_webhook_of_a_prediction_has_an_event_of_its_own_and_links_that_outlast_its_repeats(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop, receiver() as archive:
        endpoint(database, archive.url, EventType.JOB_SUCCEEDED)
        job_id = new_job()
        webhook = {"url": shop.url, "events": ["output"], "format": "prediction", "origin": "https://pictures.example"}
        with database.write() as session:
            session.execute(update(Job).values(webhook=webhook))
        with database.write() as session:
            [claim] = ledger.claim(session, [job_id], "a worker", 60)
            image = NewImage("ab" * 32, "image/png", 8, 8, 9, 7, {})
            ledger.finish(session, [Result(claim.id, claim.attempt, [image])])
        run_until(make_duty(), lambda: states(database) == ["delivered"] * 2)
    assert len({row.event_id for row in rows(database)}) == 2
    assert archive.requests[0].event["data"]["id"] == job_id
    told = shop.requests[0].event
    assert (told["id"], told["status"], told["input"]["prompt"]) == (job_id, "succeeded", "a secret apple")
    [url] = told["output"]
    assert url.startswith("https://pictures.example/images/")
    image_id, seconds = SignedLinks("", database).read(url.rpartition("/")[2])
    assert image_id.startswith("img_")
    assert seconds > GIVE_UP_SECONDS


def test_a_repeat_has_the_same_id_and_the_same_bytes(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    answers = iter([failure(500, b"no"), failure(301, Location="http://127.0.0.1:1/"), Answer(204, b"")])
    with receiver(lambda _request: next(answers)) as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        deliveries_duty = make_duty()
        for count in (1, 2, 3):
            run_until(deliveries_duty, lambda count=count: len(attempts(database)) == count)
            with database.write() as session:  # retention and later changes do not alter what is sent
                session.execute(update(Job).values(presentation=f"changed {count}"))
            make_due(database)
    assert states(database) == ["delivered"]
    assert len({(request.headers["webhook-id"], request.body) for request in shop.requests}) == 1
    assert [(row.number, row.status, row.error) for row in attempts(database)] == [
        (1, 500, "status"),
        (2, 301, "status"),
        (3, 204, None),
    ]
    first = attempts(database)[0]
    assert (first.answer, first.address, first.url) == ("no", "127.0.0.1", shop.url)
    assert first.request_headers["webhook-id"] == shop.requests[0].headers["webhook-id"]
    assert first.seconds > 0


def test_a_failed_delivery_waits_and_is_given_up_after_its_deadline(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver(lambda _request: Answer(503, headers={"Retry-After": "1800"})) as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        deliveries_duty = make_duty()
        run_until(deliveries_duty, lambda: attempts(database))
        [row] = rows(database)
        with database.read() as session:
            moment = session.scalar(select(now()))
        assert row.state == "pending"
        assert moment + 1700 < row.next_at <= moment + 1800
        with database.write() as session:
            session.execute(update(WebhookDelivery).values(next_at=now(), deadline_at=now() + 600))
        run_until(deliveries_duty, lambda: len(attempts(database)) == 2)
        [row] = rows(database)
        assert row.next_at == row.deadline_at, "the last try is not at the deadline"
        with database.write() as session:
            session.execute(update(WebhookDelivery).values(next_at=now(), deadline_at=now()))
        run_until(deliveries_duty, lambda: states(database) == ["failed"])
        assert rows(database)[0].ended_at is not None


def test_410_gone_ends_a_delivery_at_once(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver(lambda _request: Answer(410)) as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        run_until(make_duty(), lambda: states(database) == ["failed"])
        assert len(shop.requests) == 1


@pytest.mark.parametrize(
    ("reply", "hangs", "error"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Le", True, "timed_out"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", True, "timed_out"),
        (b"SSH-2.0-OpenSSH\r\n", False, "answer_invalid"),
        (b"", False, "answer_invalid"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", False, "answer_invalid"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 500_000, False, "answer_invalid"),
    ],
)
def test_a_broken_answer_is_a_failure_of_this_delivery_alone(
    database: Database,
    make_duty: Callable[..., Deliveries],
    new_job: Callable[..., str],
    reply: bytes,
    hangs: bool,
    error: str,
):
    with raw_server(reply, then_hang=hangs) as url:
        cancel(database, new_job(url, ["job.canceled"]))
        run_until(make_duty(webhook_timeout_seconds=0.5), lambda: attempts(database))
    assert attempts(database)[0].error in (error, "connection_lost")
    assert states(database) in (["pending"], ["sending"])  # it waits, or is repeated already


def test_an_endless_answer_is_read_only_to_its_limit(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + b"\x00\xffz" * 5000
    with raw_server(reply, then_hang=True) as url:
        cancel(database, new_job(url, ["job.canceled"]))
        run_until(make_duty(), lambda: states(database) == ["delivered"])
    answer = attempts(database)[0].answer or ""
    assert len(answer) <= 4096
    assert "\x00" not in answer


def test_a_refused_connection_and_a_refused_address_are_logged(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    for url in ("http://127.0.0.1:1/x", "https://localhost./x", "http://127.9.9.9.nip.invalid/x"):
        cancel(database, new_job(url, ["job.canceled"]))
    allowed = make_duty(webhook_internal_targets=("127.0.0.1",))
    run_until(allowed, lambda: len({row.url for row in attempts(database)}) == 3)
    found = {row.url: (row.error, row.address) for row in attempts(database)}
    assert found["http://127.0.0.1:1/x"] == ("connection_failed", "127.0.0.1")
    assert found["http://127.9.9.9.nip.invalid/x"][0] == "address_refused", "http without the operator's leave"


def test_tls_is_checked_against_the_name_and_sends_it(
    database: Database,
    make_duty: Callable[..., Deliveries],
    new_job: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
    ]
    subprocess.run([*command, "-keyout", key, "-out", certificate, *subject], check=True, capture_output=True)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with receiver(certificate=(str(certificate), str(key))) as shop:
        by_name = shop.url.replace("127.0.0.1", "localhost")
        for url in (by_name, shop.url):
            cancel(database, new_job(url, ["job.canceled"]))
        run_until(make_duty(), lambda: len({row.url for row in attempts(database)}) == 2)
    assert shop.server_names[0] == "localhost" or "localhost" in shop.server_names
    assert [request.headers["host"] for request in shop.requests] == [httpx.URL(by_name).netloc.decode()]
    found = {row.url: row.error for row in attempts(database)}
    assert found == {by_name: None, shop.url: "connection_failed"}


def test_a_delivery_that_cannot_be_signed_is_not_sent_and_harms_no_other(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        endpoint_id, _ = endpoint(database, shop.url, EventType.JOB_CANCELED)
        cancel(database, new_job(shop.url, ["job.canceled"]))
        with database.write() as session:
            broken = update(WebhookSecret).where(WebhookSecret.owner_id == endpoint_id)
            session.execute(broken.values({"secret": "whsec_A"}))
        run_until(make_duty(), lambda: len({row.error for row in attempts(database)}) == 2)
        assert len(shop.requests) == 1
    assert {(row.error, row.status) for row in attempts(database)} == {(None, 200), ("not_sent", None)}


# --- several receivers and dispatchers -------------------------------------------------------------------------------


def test_a_hanging_receiver_does_not_delay_another(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as hanging, receiver() as healthy:
        hanging.answer = hanging.hang
        for _ in range(30):
            cancel(database, new_job(hanging.url, ["job.canceled"]))
        cancel(database, *[new_job(healthy.url, ["job.canceled"]) for _ in range(20)])
        deliveries_duty = make_duty(webhook_timeout_seconds=120.0)
        run_until(deliveries_duty, lambda: len(healthy.requests) == 20)
        assert len(hanging.requests) == 1, "an unproven receiver gets one delivery at a time"
        hanging.released.set()
        run_until(deliveries_duty, lambda: len(hanging.requests) == 30)
    run_until(deliveries_duty, lambda: set(states(database)) == {"delivered"})
    ids = [request.headers["webhook-id"] for request in hanging.requests + healthy.requests]
    assert len(set(ids)) == 50


def test_only_the_leader_sends_and_another_takes_over_after_it(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        first, second = make_duty("first"), make_duty("second")
        run_until(first, lambda: states(database) == ["delivered"])
        cancel(database, new_job(shop.url, ["job.canceled"]))
        # The isolation lets the loss of the lead through, as the dispatcher's thread expects.
        with pytest.raises(NotLeading):
            second.round()
        assert len(shop.requests) == 1
        with database.write() as session:
            session.execute(update(Leader).values(until=0))
        run_until(second, lambda: set(states(database)) == {"delivered"})
    assert len(shop.requests) == 2


def test_no_delivery_is_claimed_twice_at_once(database: Database, new_job: Callable[..., str]):
    jobs = [new_job("https://shop.example/x", ["job.canceled"]) for _ in range(40)]
    cancel(database, *jobs)
    key = rows(database)[0].receiver

    def claim_some(_number: int) -> list[str]:
        with database.write() as session:
            return [claimed.id for claimed in deliveries.claim(session, key, 10, 60)]

    with ThreadPoolExecutor(8) as pool:
        claimed = [each for some in pool.map(claim_some, range(8)) for each in some]
    assert len(claimed) == len(set(claimed))
    assert len(claimed) >= 10


def test_a_delivery_whose_dispatcher_died_is_sent_again_and_the_late_result_changes_nothing(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str], catalogue: Catalogue
):
    with receiver() as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        key = rows(database)[0].receiver
        with database.write() as session:
            [lost] = deliveries.claim(session, key, 1, 60)
            deliveries.store_bodies(session, Bodies("", catalogue, SignedLinks("", database)).make(session, [lost]))
        deliveries_duty = make_duty()
        deliveries_duty.round()
        assert shop.requests == []
        make_due(database)  # its lease ends
        run_until(deliveries_duty, lambda: states(database) == ["delivered"])
        late = deliveries.Sent(lost.id, lost.attempt, deliveries.DeliveryState.PENDING, shop.url, 1.0)
        with database.write() as session:
            deliveries.finish(session, [late])
        assert states(database) == ["delivered"]
        assert [row.number for row in attempts(database)] == [2, 1]


def test_due_receivers_are_found_page_by_page(database: Database, new_job: Callable[..., str]):
    jobs = [new_job(f"https://shop{number}.example/x", ["job.canceled"]) for number in range(7)]
    cancel(database, *jobs)
    with database.write() as session:
        session.execute(update(WebhookDelivery).where(WebhookDelivery.url.contains("shop3")).values(next_at=now() + 60))
    found: list[str] = []
    after, pages = "", 0
    with database.read() as session:
        while pages == 0 or after:
            due, after = deliveries.due_receivers(session, after, 3)
            found += [each.receiver for each in due]
            pages += 1
    assert pages == 3
    assert sorted(found) == sorted(row.receiver for row in rows(database) if "shop3" not in row.url)


# --- endpoints, repeats and retention --------------------------------------------------------------------------------


def test_what_waits_for_an_endpoint_goes_to_its_new_url_and_is_canceled_when_it_is_deleted(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as moved:
        endpoint_id, _ = endpoint(database, "https://nothing.invalid/x", EventType.JOB_CANCELED)
        cancel(database, new_job())
        with database.write() as session:
            endpoints.change(session, TENANT, endpoint_id, {"url": moved.url}, actor="a test")
        deliveries_duty = make_duty()
        run_until(deliveries_duty, lambda: states(database) == ["delivered"])
        assert rows(database)[0].url == moved.url
        cancel(database, new_job())
        with database.write() as session:
            endpoints.remove(session, TENANT, endpoint_id, actor="a test")
        run_until(deliveries_duty, lambda: states(database) == ["delivered", "canceled"])
        assert len(moved.requests) == 1


def test_a_delivery_is_repeated_by_hand_and_by_range(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        cancel(database, *[new_job(shop.url, ["job.canceled"]) for _ in range(5)])
        deliveries_duty = make_duty()
        run_until(deliveries_duty, lambda: set(states(database)) == {"delivered"})
        with database.write() as session:
            log.redeliver(session, TENANT, rows(database)[0].id)
        run_until(deliveries_duty, lambda: len(shop.requests) == 6 and set(states(database)) == {"delivered"})
        which = log.DeliveryFilter(deliveries.DeliveryState.DELIVERED)
        with database.write() as session:
            count, last = log.redeliver_range(session, TENANT, which, 3)
            assert (count, last) == (3, rows(database)[2].id)
            following = log.DeliveryFilter(deliveries.DeliveryState.DELIVERED, first=f"{last}0")
            assert log.redeliver_range(session, TENANT, following, 3) == (2, None)
        run_until(deliveries_duty, lambda: len(shop.requests) == 11 and set(states(database)) == {"delivered"})
    assert len({request.headers["webhook-id"] for request in shop.requests}) == 5
    with database.write() as session:
        deliveries.claim(session, rows(database)[0].receiver, 1, 60)
        session.execute(update(WebhookDelivery).values(state="sending"))
        with pytest.raises(InvalidState):
            log.redeliver(session, TENANT, rows(database)[0].id)


def counts(database: Database) -> list[int]:
    tables = (WebhookEvent, WebhookDelivery, WebhookAttempt)
    with database.read() as session:
        return [session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]


def test_retention_deletes_what_was_sent_of_a_job(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver(lambda request: Answer(200, request.body)) as shop:
        endpoint(database, shop.url, EventType.JOB_CANCELED)
        cancel(database, new_job(shop.url, ["job.canceled"]))
        run_until(make_duty(), lambda: states(database) == ["delivered"] * 2)
    with database.write() as session:
        session.execute(update(Job).values(finished_at=now() - 864_000))
        session.execute(update(Tenant).values(keep_prompts_days=1))
        assert ledger.forget_prompts(session, 9) == 1
    with database.read() as session:
        assert session.scalars(select(WebhookEvent.body)).all() == [None]
    assert [row.answer for row in attempts(database)] == [None, None]
    assert counts(database) == [1, 2, 2]
    with database.write() as session:
        session.execute(update(Tenant).values(keep_jobs_days=1))
        assert ledger.forget_jobs(session, 9) == 1
    assert counts(database) == [0, 0, 0]


def test_the_log_is_pruned_and_overdue_deliveries_are_given_up(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    with receiver() as shop:
        cancel(database, *[new_job(shop.url, ["job.canceled"]) for _ in range(3)])
        run_until(make_duty(), lambda: set(states(database)) == {"delivered"})
    cancel(database, new_job("https://shop.example", ["job.canceled"]))
    with database.write() as session:
        assert log.prune(session, 2, -1.0) == 2
        assert log.prune(session, 2, -1.0) == 1
        assert log.prune(session, 2, -1.0) == 0
        assert deliveries.give_up(session, 9, 60) == 0
        session.execute(update(WebhookDelivery).values(deadline_at=now() - 61))
        assert deliveries.give_up(session, 9, 60) == 1
    assert states(database) == ["failed"]
    assert counts(database) == [1, 1, 0]


def test_a_result_is_recorded_once_the_database_is_back(
    database: Database,
    make_duty: Callable[..., Deliveries],
    new_job: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
):
    with receiver() as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        deliveries_duty = make_duty()
        real = deliveries.finish
        failures = iter([ConnectionError("away"), None])

        def finish(session: Any, results: Any):
            error = next(failures, None)
            if error:
                raise error
            real(session, results)

        monkeypatch.setattr(duty.deliveries, "finish", finish)
        run_until(deliveries_duty, lambda: states(database) == ["delivered"])
    assert len(shop.requests) == 1
