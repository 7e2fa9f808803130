"""Deliveries of webhooks: lists, repeats and the command."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select, update
from standardwebhooks import Webhook

from limner_client.cli.main import cli
from limner_shared.db.engine import Database, now
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery
from tests.api.clients import ApiClient, App
from tests.api.webhook_services import DELIVERIES, JOBS, app, cancel, create_endpoint, delivering, served
from tests.processes import eventually
from tests.receivers import Answer, failure, receiver

__all__ = ["app", "delivering"]


def test_deliveries_are_listed_filtered_and_paged(client: ApiClient, database: Database):
    made = create_endpoint(client, "https://shop.example/x").json
    for number in range(5):
        body = {"prompt": "x"} | ({"webhook": "https://other.example/y"} if number == 0 else {})
        cancel(client, client.post(JOBS, json=body).json["id"])
    with database.write() as session:
        oldest = session.scalars(select(WebhookDelivery.id).order_by(WebhookDelivery.id)).first()
        session.execute(update(WebhookDelivery).where(WebhookDelivery.id == oldest).values(state="failed"))
    first = client.get(f"{DELIVERIES}?limit=4").json
    assert len(first["items"]) == 4
    rest = client.get(f"{DELIVERIES}?limit=4&cursor={first['next']}").json
    ids = [each["id"] for each in first["items"] + rest["items"]]
    assert len(ids) == 6
    assert ids == sorted(ids, reverse=True)
    assert rest["next"] is None

    def found(query: str) -> int:
        return len(client.get(f"{DELIVERIES}?{query}").json["items"])

    assert found(f"endpoint={made['id']}") == 5
    assert found("state=failed") == 1
    assert found("state=delivered") == 0
    hour = timedelta(hours=1)
    ago, ahead = ((datetime.now(UTC) + shift).strftime("%Y-%m-%dT%H:%M:%SZ") for shift in (-hour, hour))
    assert found(f"since={ago}&until={ahead}&endpoint={made['id']}&state=pending") + found("state=failed") >= 5
    assert found(f"until={ago}") == found(f"since={ahead}") == 0
    assert client.get(f"{DELIVERIES}?since=yesterday").status_code == 422
    assert client.get(f"{DELIVERIES}?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z").status_code == 200


def test_a_delivery_shows_its_request_and_each_answer_and_is_repeated(
    client: ApiClient, database: Database, delivering: None
):
    answers = iter([failure(500, b"broken"), Answer(200, b"fine")])
    with receiver(lambda _request: next(answers)) as shop:
        cancel(client, client.post(JOBS, json={"prompt": "x", "webhook": shop.url}).json["id"])

        def first() -> dict[str, Any]:
            return client.get(DELIVERIES).json["items"][0]

        eventually(lambda: first()["attempts"] == 1 and first()["state"] == "pending")
        repeated = client.post(f"{DELIVERIES}/{first()['id']}/redeliver")
        assert repeated.status_code == 202
        eventually(lambda: first()["state"] == "delivered")
    detail = client.get(f"{DELIVERIES}/{first()['id']}").json
    assert [(each["number"], each["status"], each["answer"], each["error"]) for each in detail["tries"]] == [
        (1, 500, "broken", "status"),
        (2, 200, "fine", None),
    ]
    assert detail["body"].encode() == shop.requests[0].body == shop.requests[1].body
    assert detail["tries"][0]["request_headers"]["webhook-id"] == detail["event"]
    assert detail["url"] == shop.url


def test_failed_deliveries_of_a_time_range_are_repeated_in_parts(
    client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("limner_web.api.webhook_deliveries.MAX_REDELIVERED", 2)
    for _ in range(5):
        cancel(client, client.post(JOBS, json={"prompt": "x", "webhook": "https://shop.example"}).json["id"])
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(state="failed", ended_at=now(), tries=9))
    since = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    counts: list[int] = []
    cursor = None
    while True:
        body = {"since": since} | ({"cursor": cursor} if cursor else {})
        answer = client.post(f"{DELIVERIES}/redeliver", json=body).json
        counts.append(answer["count"])
        cursor = answer["next"]
        if cursor is None:
            break
    assert counts == [2, 2, 1]
    with database.read() as session:
        found = session.execute(select(WebhookDelivery.state, WebhookDelivery.tries, WebhookDelivery.ended_at)).all()
    assert {tuple(row) for row in found} == {("pending", 0, None)}


def test_a_delivery_that_is_being_sent_is_not_repeated(client: ApiClient, database: Database):
    cancel(client, client.post(JOBS, json={"prompt": "x", "webhook": "https://shop.example"}).json["id"])
    with database.write() as session:
        session.execute(update(WebhookDelivery).values(state="sending"))
        assert session.scalars(select(WebhookAttempt)).all() == []
    delivery = client.get(DELIVERIES).json["items"][0]["id"]
    answer = client.post(f"{DELIVERIES}/{delivery}/redeliver")
    assert (answer.status_code, answer.json["code"]) == (409, "invalid_state")
    assert client.post(f"{DELIVERIES}/whd_none/redeliver").status_code == 404


def test_the_command_manages_endpoints_and_repeats_deliveries(app: App, client: ApiClient, delivering: None):
    answers = iter([Answer(200), failure(500, b"[broken]"), *[Answer(200)] * 9])
    with receiver(lambda _request: next(answers)) as shop, served(app) as url:

        def limner(*words: str, code: int = 0) -> str:
            result = CliRunner(env={"COLUMNS": "300"}).invoke(cli, ["webhooks", *words, "--server", url])
            assert result.exit_code == code, result.output
            # The server of this test logs from its own thread into the same output.
            return "\n".join(line for line in result.output.splitlines() if not re.match(r"20\d\d-|127\.", line))

        endpoint, secret = limner("create", shop.url, "--event", "job.canceled").split()
        assert endpoint in limner("list")
        assert limner("test", endpoint).strip() == "200"
        Webhook(secret).verify(shop.requests[0].body, shop.requests[0].headers)
        assert limner("rotate", endpoint, "--overlap", "0").strip() not in ("", secret)
        assert limner("secret").startswith("whsec_")
        assert limner("rotate").strip() == limner("secret").strip()
        job = client.post(JOBS, json={"prompt": "a red apple"}).json["id"]
        cancel(client, job)
        delivery = client.get(DELIVERIES).json["items"][0]["id"]
        eventually(lambda: client.get(f"{DELIVERIES}/{delivery}").json["tries"])
        shown = limner("show", delivery)
        assert "a red apple" in shown
        assert "[broken]" in shown
        for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
            assert f"   {name}: {shop.requests[1].headers[name]}\n" in shown
        assert delivery in limner("deliveries", "--since", "2026-01-01", "--endpoint", endpoint)
        limner("redeliver", delivery)
        eventually(lambda: client.get(f"{DELIVERIES}/{delivery}").json["state"] == "delivered")
        assert "2 deliveries" in limner("redeliver", "--since", "2026-01-01", "--state", "delivered")
        eventually(lambda: len(shop.requests) == 5)
        limner("redeliver", code=2)
        limner("redeliver", "--since", "soon", code=2)
        limner("delete", endpoint)
        assert endpoint not in limner("list")
