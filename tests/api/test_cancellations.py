"""A client cancels all that waits, and the service goes on with it after the answer."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import sweep_cancellation
from limner_shared.db.tables import Cancellation, Job
from limner_web.api import cancellations
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import start
from tests.api.test_bulks import JSONL, both_databases, lines
from tests.api.test_order import submitted

JOBS, CANCEL, CANCELLATIONS = "/api/v1/jobs", "/api/v1/jobs/cancel", "/api/v1/cancellations"
ALL = {"in_background": True}


@pytest.fixture(autouse=True)
def _few_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancellations, "CANCELED_AT_ONCE", 2)


def sweep(database: Database) -> list[tuple[int, bool]]:
    """Do what the dispatcher does, once for each order: the number of jobs, and whether it is still open."""
    swept: list[tuple[int, bool]] = []
    with database.write() as session:
        for order_id in ledger.open_cancellations(session):
            found = ledger.find_ordered(session, order_id, "", 2 + 1)
            assert found is not None
            order, jobs = found
            changes = ledger.sweep_cancellation(session, order, jobs[:2], all_=len(jobs) <= 2)
            swept.append((len(changes), order_id in ledger.open_cancellations(session)))
    return swept


def states(client: ApiClient, ids: list[str]) -> list[Any]:
    return [client.get(f"{JOBS}/{job_id}").json["status"] for job_id in ids]


@both_databases
def test_one_request_cancels_all_that_waits_in_parts_and_spares_later_jobs(
    client: ApiClient, app: App, database: Database
) -> None:
    running = submitted(client)
    start(app, running)
    body = lines(*({"prompt": "x"} for _ in range(3)))
    client.post("/api/v1/bulks", data=body, content_type=JSONL)
    waiting = [submitted(client, model="limner-gan"), *(submitted(client) for _ in range(2))]
    answer = client.post(CANCEL, json=ALL).json
    assert (answer["canceled"], answer["more"]) == (2, True)
    later = submitted(client)
    [shown] = client.get(CANCELLATIONS).json["items"]
    assert (shown["model"], shown["priority"], shown["canceled"]) == (None, None, 2)
    assert (shown["id"], shown["status"]) == (answer["cancellation"], "running")
    assert sweep(database) == [(2, True)]
    assert client.get(CANCELLATIONS).json["items"][0]["canceled"] == 4
    assert sweep(database) == [(2, False)]
    assert client.get(CANCELLATIONS).json == {"items": []}
    ended = client.get(f"{CANCELLATIONS}/{answer['cancellation']}").json
    assert ended == shown | {"canceled": 6, "status": "finished"}
    assert states(client, [*waiting, later, running]) == ["canceled"] * 3 + ["queued", "running"]
    [bulk] = client.get("/api/v1/bulks").json["items"]
    assert bulk["counts"]["canceled"] == 3


@both_databases
def test_a_repeated_order_is_one_order_and_reaches_what_came_meanwhile(client: ApiClient, database: Database) -> None:
    for _ in range(5):
        submitted(client, priority="low")
    low = ALL | {"model": "limner-flow", "priority": "low"}
    first = client.post(CANCEL, json=low).json
    assert first == {"canceled": 2, "more": True, "cancellation": first["cancellation"]}
    others = [submitted(client, priority="low"), submitted(client)]
    assert client.post(CANCEL, json=low).json == first
    [shown] = client.get(CANCELLATIONS).json["items"]
    assert (shown["model"], shown["priority"], shown["canceled"]) == ("limner-flow", "low", 4)
    assert sweep(database) == [(2, False)]
    assert states(client, others) == ["canceled", "queued"]
    again = client.post(CANCEL, json=low).json
    assert (again["canceled"], again["more"]) == (0, False)
    assert client.get(CANCELLATIONS).json == {"items": []}


def test_the_orders_of_a_tenant_do_not_reach_the_jobs_of_others(client: ApiClient, database: Database) -> None:
    theirs, mine = [[submitted(client) for _ in range(3)] for _ in range(2)]
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(update(Job).where(Job.id.in_(theirs)).values(tenant_id="tenant_other"))
        assert ledger.order_cancellation(session, "tenant_other", None, None)
    assert client.get(CANCELLATIONS).json == {"items": []}
    client.post(CANCEL, json=ALL)
    with database.write() as session:
        session.execute(update(Cancellation).where(Cancellation.tenant_id == "tenant_other").values(last_job=""))
    assert sorted(sweep(database)) == [(0, False), (1, False)]
    assert states(client, mine) == ["canceled"] * 3
    with database.read() as session:
        assert {session.get_one(Job, job_id).state for job_id in theirs} == {"queued"}


@both_databases
def test_the_answer_counts_what_the_request_cancels_because_the_dispatcher_sees_the_order_only_afterwards(
    client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    submitted(client)
    orders: list[list[str]] = []

    def note(session: Session, *given: Any, **more: bool) -> list[ledger.Change]:
        with database.read() as other:
            orders.append(ledger.open_cancellations(other))
        return sweep_cancellation(session, *given, **more)

    monkeypatch.setattr(ledger, "sweep_cancellation", note)
    answer = client.post(CANCEL, json=ALL).json
    assert (answer["canceled"], answer["more"]) == (1, False)
    assert orders == [[]]


@both_databases
def test_a_stopped_order_spares_what_it_has_not_canceled_and_the_next_one_is_another(
    client: ApiClient, database: Database
) -> None:
    waiting = [submitted(client) for _ in range(6)]
    order = client.post(CANCEL, json=ALL).json["cancellation"]
    sweep(database)
    with database.read() as session:
        known = ledger.find_ordered(session, order, "", 2)
    assert known
    stopped = client.post(f"{CANCELLATIONS}/{order}/stop").json
    assert (stopped["canceled"], stopped["status"]) == (4, "stopped")
    assert sweep(database) == []
    with database.write() as session:
        assert ledger.sweep_cancellation(session, *known, all_=True) == []  # of a round that had read it before
    assert states(client, waiting) == ["canceled"] * 4 + ["queued"] * 2
    assert client.get(CANCELLATIONS).json == {"items": []}
    for answer in (client.post(f"{CANCELLATIONS}/{order}/stop"), client.get(f"{CANCELLATIONS}/{order}")):
        assert answer.json == stopped
    again = client.post(CANCEL, json=ALL).json
    assert again["cancellation"] != order
    assert states(client, waiting) == ["canceled"] * 6
    url = f"{CANCELLATIONS}/{again['cancellation']}"
    finished = client.get(url).json
    assert (finished["canceled"], finished["status"]) == (2, "finished")
    assert client.post(f"{url}/stop").json == finished


@both_databases
def test_an_order_is_stopped_and_read_by_its_tenant_only(client: ApiClient, database: Database) -> None:
    submitted(client)
    with database.write() as session:
        given = ledger.order_cancellation(session, "tenant_local", None, None)
        assert given
        order = given.id
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(update(Cancellation).values(tenant_id="tenant_other"))
    for refused in (client.post(f"{CANCELLATIONS}/{order}/stop"), client.get(f"{CANCELLATIONS}/{order}")):
        assert (refused.status_code, refused.json["code"]) == (404, "not_found")
    with database.read() as session:
        assert ledger.open_cancellations(session) == [order]


def test_an_order_that_ended_long_ago_is_deleted_by_the_next_one_of_its_tenant(
    client: ApiClient, database: Database
) -> None:
    for age in (3700, 0):
        submitted(client)
        order = client.post(CANCEL, json=ALL).json["cancellation"]
        with database.write() as session:
            aged = update(Cancellation).where(Cancellation.id == order)
            session.execute(aged.values(ordered_at=Cancellation.ordered_at - age))
    submitted(client)
    last = client.post(CANCEL, json=ALL).json["cancellation"]
    with database.read() as session:
        assert set(session.scalars(select(Cancellation.id))) == {order, last}


@both_databases
def test_of_orders_that_have_ended_the_newest_are_kept(
    client: ApiClient, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules[sweep_cancellation.__module__], "MOST_KEPT", 2)
    orders: list[str] = []
    for _ in range(4):
        submitted(client)
        orders.append(client.post(CANCEL, json=ALL).json["cancellation"])
    found = [client.get(f"{CANCELLATIONS}/{order}").status_code for order in orders]
    assert found == [404, 200, 200, 200], "the last two, and the one that was given now"
    with database.read() as session:
        assert len(session.scalars(select(Cancellation)).all()) == 3


def test_whether_it_is_in_the_background_is_a_truth_value_of_json(client: ApiClient) -> None:
    for value in (0, "true", None):
        refused = client.post("/api/v1/jobs/cancel", json={"in_background": value})
        assert refused.status_code == 422, value
