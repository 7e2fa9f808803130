"""Delivery of webhooks to real receivers on loopback, with both databases."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from openai import OpenAI
from replicate.webhook import Webhooks, WebhookSigningSecret
from sqlalchemy import select, update
from standardwebhooks import Webhook as StandardWebhook
from tests.parameters import on_sqlite
from tests.receivers import Answer, failure, raw_server, receiver
from tests.unit.webhooks.duty import (
    TENANT,
    attempts,
    cancel,
    endpoint,
    make_due,
    make_duty,
    new_job,
    rows,
    run_until,
    states,
)

from limner_dispatcher.webhooks.deliveries import Deliveries
from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import NewImage, Result
from limner_shared.db.signed_links import SignedLinks
from limner_shared.db.tables import Job
from limner_shared.db.webhook_tables import WebhookDelivery, WebhookSecret
from limner_shared.db.webhooks import endpoints
from limner_shared.domain.webhooks import GIVE_UP_SECONDS, EventType
from limner_shared.metrics import exposition
from limner_shared.settings import Settings

__all__ = ["make_duty", "new_job"]


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


def test_after_two_rotations_and_a_read_the_newest_secret_signs_alone(database: Database):
    with database.write() as session:
        ledger.ensure_tenant(session, TENANT, TENANT)
        endpoints.current_secret(session, TENANT)
        newest = [endpoints.rotate(session, TENANT, TENANT, 0.0, actor="a test") for _ in range(2)][-1]
    with database.write() as session:
        assert endpoints.current_secret(session, TENANT) == newest
        assert endpoints.signing_secrets(session, [TENANT]) == {TENANT: [newest]}


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
    image_id, seconds = SignedLinks(Settings(), database).read(url.rpartition("/")[2])
    assert image_id.startswith("img_")
    assert seconds > GIVE_UP_SECONDS


def tries() -> Counter[str]:
    """The tries so far that the metrics count, by the state after each."""
    counted = re.findall(r'webhook_deliveries_total\{state="(\w+)"\} (\d+)', exposition.render()[0].decode())
    return Counter({state: int(count) for state, count in counted})


def test_a_repeat_has_the_same_id_and_the_same_bytes(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    answers = iter([failure(500, b"no"), failure(301, Location="http://127.0.0.1:1/"), Answer(204, b"")])
    with receiver(lambda _request: next(answers)) as shop:
        cancel(database, new_job(shop.url, ["job.canceled"]))
        deliveries_duty = make_duty()
        before = tries()
        for count in (1, 2, 3):
            run_until(deliveries_duty, lambda count=count: len(attempts(database)) == count)
            with database.write() as session:  # retention and later changes do not alter what is sent
                session.execute(update(Job).values(presentation=f"changed {count}"))
            make_due(database)
    assert states(database) == ["delivered"]
    assert tries() - before == {"pending": 2, "delivered": 1}
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


@on_sqlite
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
        run_until(make_duty(webhook_timeout_seconds=1 if hangs else 15), lambda: attempts(database))
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


def test_a_failing_receiver_whose_deliveries_were_deleted_is_no_longer_an_item(
    database: Database, make_duty: Callable[..., Deliveries], new_job: Callable[..., str]
):
    job_id = new_job("http://127.0.0.1:1/")
    cancel(database, job_id)
    duty = make_duty()

    def fail(*_: object) -> None:
        raise ValueError("damaged")

    duty._bodies.make = cast("Any", fail)
    run_until(duty, duty._runner.failing_items)
    with database.write() as session:
        ledger.delete_job(session, TENANT, job_id)
    run_until(duty, lambda: not duty._runner.failing_items())


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
