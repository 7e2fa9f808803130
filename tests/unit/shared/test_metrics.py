"""Metrics: what is counted, that a metric never breaks what it measures, and that every one is documented."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any, cast
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update
from tests.processes import eventually

from limner_dispatcher.statistics import QueueStatistics
from limner_shared.db import ledger
from limner_shared.db.accounts import audit, pauses
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Bulk, Job
from limner_shared.db.webhook_tables import WebhookDelivery
from limner_shared.db.webhooks import endpoints
from limner_shared.db.webhooks.endpoints import EndpointFields
from limner_shared.domain.bulks import BulkState
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane, Priority
from limner_shared.domain.pauses import PauseKind
from limner_shared.domain.webhooks import EventType
from limner_shared.errors import GenerationFailed
from limner_shared.messaging import queue_lengths
from limner_shared.messaging.hints import connect
from limner_shared.metrics import exposition, instruments
from limner_shared.metrics.instruments import ALL, OTHER, Counter, Gauge, Histogram
from limner_shared.operator_port import serve_metrics
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor

TENANT = ledger.LOCAL_TENANT
IMAGE = ledger.NewImage("ab" * 32, "image/png", 256, 256, 1234, 7, {"steps": 24})
MODEL = "limner-flow"
UNITS = ("_total", "_seconds", "_bytes", "_jobs", "_rows", "_items", "_info")
WITHOUT_UNIT = {
    "limner_dispatcher_leads",
    "limner_worker_models",
    "limner_worker_draining",
    "limner_worker_paused",
    "limner_http_slots",
    "limner_event_streams",
}


def values() -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families(exposition.render()[0].decode())
    return {(each.name, frozenset(each.labels.items())): each.value for family in families for each in family.samples}


def value(name: str, **labels: str) -> float:
    return values().get((name, frozenset(labels.items())), 0.0)


class Difference:
    """The growth of values since this was made."""

    def __init__(self) -> None:
        self._before = values()

    def __call__(self, name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return values().get(key, 0.0) - self._before.get(key, 0.0)


@pytest.fixture
def grown() -> Difference:
    return Difference()


@pytest.fixture
def own_metrics() -> Iterator[None]:
    """Metrics that a test declares are removed after it."""
    before = set(ALL)
    yield
    for name in set(ALL) - before:
        del ALL[name]


def submit(database: Database, catalogue: Catalogue, count: int = 1, **more: Any) -> list[str]:
    card, spec = catalogue.resolve(JobRequest(prompt="a red apple"))
    with database.write() as session:
        jobs = [ledger.NewJob(spec, card.cost(spec), Priority.NORMAL, **more)] * count
        return [change.id for change in ledger.submit(session, TENANT, jobs).changes]


def claim(database: Database, *ids: str, lease: float = 60) -> list[ledger.Claim]:
    with database.write() as session:
        return ledger.claim(session, ids, "me", lease)


# --- names ---


def test_every_name_has_the_prefix_and_a_base_unit_and_no_label_is_unbounded():
    for name, metric in ALL.items():
        assert name.startswith("limner_")
        assert name.endswith(UNITS) or name in WITHOUT_UNIT, name
        assert name.endswith("_total") == isinstance(metric, Counter)
        assert not {"id", "job", "user", "path"} & set(metric.labels)
        assert "tenant" not in metric.labels or name.startswith("limner_tenant_")


# --- a metric never breaks what it measures ---


def test_a_metric_that_fails_is_reported_once_and_raises_nothing(own_metrics: None, capsys: pytest.CaptureFixture[str]):
    broken = Counter("limner_broken_total", "", ("model",))
    for _ in range(3):
        broken.inc(modell="x")
    assert capsys.readouterr().err.count("limner_broken_total does not work") == 1
    with Histogram("limner_broken_seconds", "", ("model",), (1,)).time(modell="x"):
        pass
    Gauge("limner_broken_rows", "", ("model",)).set(cast("float", "many"), model="x")


def test_label_sets_beyond_the_limit_are_counted_together(own_metrics: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(instruments, "MAX_LABEL_SETS", 2)
    counter = Counter("limner_many_total", "", ("model",))
    for model in ("a", "b", "c", "d", "c"):
        counter.inc(model=model)
    assert [value("limner_many_total", model=model) for model in ("a", "b", "c", "d", OTHER)] == [1, 1, 0, 0, 3]
    requests = Counter("limner_asked_total", "", ("route", "status"), few=ALL["limner_http_requests_total"].few)
    for route, status in (("/a", "200"), ("/b", "200"), ("/c", "500"), ("/d", "500")):
        requests.inc(route=route, status=status)
    assert value("limner_asked_total", route=OTHER, status="500") == 2


def test_nothing_is_measured_while_metrics_are_off(own_metrics: None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(instruments.STATE, "enabled", False)
    counter = Counter("limner_off_total", "")
    counter.inc()
    monkeypatch.setattr(instruments.STATE, "enabled", True)
    assert value("limner_off_total") == 0
    counter.inc()
    assert value("limner_off_total") == 1


def test_values_that_are_recorded_together_count_as_those_recorded_one_by_one(own_metrics: None):
    seconds = [0.5, 1.0, 1.5, 2.0, 7.0, 1.0]
    one_by_one = Histogram("limner_single_seconds", "", ("model",), (1, 2))
    for second in seconds:
        one_by_one.observe(second, model="a")
    together = Histogram("limner_together_seconds", "", ("model",), (1, 2))
    together.observe_each([(second, ("a",)) for second in seconds] + [(9.0, ("b",))])
    for sample, labels in (("bucket", {"le": "1.0"}), ("bucket", {"le": "2.0"}), ("count", {}), ("sum", {})):
        expected = value(f"limner_single_seconds_{sample}", model="a", **labels)
        assert value(f"limner_together_seconds_{sample}", model="a", **labels) == expected > 0
    assert value("limner_together_seconds_count", model="b") == 1
    counter = Counter("limner_together_total", "", ("model",))
    counter.inc_each((model,) for model in "aba")
    assert [value("limner_together_total", model=model) for model in "ab"] == [2, 1]


def test_values_recorded_together_that_cannot_be_read_break_nothing(
    own_metrics: None, capsys: pytest.CaptureFixture[str]
):
    Counter("limner_broken_total", "", ("model",)).inc_each((str(1 // number),) for number in (1, 0))
    Histogram("limner_broken_seconds", "", ("model",), (1,)).observe_each((1.0, ("a", "b")) for _ in range(2))
    assert capsys.readouterr().err.count("does not work") == 2


# --- jobs ---


def test_jobs_are_counted_once_their_transaction_is_committed(
    database: Database, catalogue: Catalogue, grown: Difference
):
    ids = submit(database, catalogue, 3)
    assert grown("limner_jobs_submitted_total", model=MODEL, priority="normal") == 3
    claims = {each.id: each for each in claim(database, *ids)}
    assert grown("limner_attempts_total", model=MODEL) == 3
    assert grown("limner_job_wait_seconds_count", model=MODEL, lane="normal") == 3
    success = ledger.Result(ids[0], claims[ids[0]].attempt, [IMAGE])
    with database.write() as session:
        ledger.finish(session, [success])
        session.rollback()
    assert grown("limner_jobs_ended_total", model=MODEL, state="succeeded", code="") == 0
    with database.write() as session:
        ledger.finish(session, [success])
        ledger.fail(session, ledger.Result(ids[1], claims[ids[1]].attempt, error=GenerationFailed()))
        ledger.cancel(session, Job.id == ids[2])
    for state, code in (("succeeded", ""), ("failed", "generation_failed"), ("canceled", "")):
        assert grown("limner_jobs_ended_total", model=MODEL, state=state, code=code) == 1
    assert grown("limner_job_end_to_end_seconds_count", model=MODEL, priority="normal") == 1


def test_a_job_that_was_scheduled_or_tried_before_does_not_count_as_having_waited(
    database: Database, catalogue: Catalogue, grown: Difference
):
    [scheduled] = submit(database, catalogue, not_before=4e9)
    with database.write() as session:
        session.get_one(Job, scheduled).not_before = 1.0
    with database.write() as session:
        ledger.start_due(session, 10)
    [attempt] = claim(database, scheduled)
    with database.write() as session:
        ledger.hand_back(session, [attempt.key])
    claim(database, scheduled)
    assert grown("limner_attempts_total", model=MODEL) == 2
    assert grown("limner_jobs_requeued_total", model=MODEL, reason="worker_stopping") == 1
    assert grown("limner_job_wait_seconds_count", model=MODEL, lane="normal") == 0


def test_lost_leases_and_dead_letters_are_counted(database: Database, catalogue: Catalogue, grown: Difference):
    [job] = submit(database, catalogue)
    for _ in range(3):
        claim(database, job, lease=-1)
        with database.write() as session:
            ledger.reap(session, 1)
    assert grown("limner_leases_lost_total", model=MODEL) == 3
    assert grown("limner_dead_letters_total", model=MODEL) == 1
    assert grown("limner_jobs_requeued_total", model=MODEL, reason="lease_lost") == 2
    assert grown("limner_jobs_ended_total", model=MODEL, state="failed", code="worker_lost") == 1


def test_a_tenant_is_a_label_only_where_the_operator_wants_it(
    database: Database, catalogue: Catalogue, grown: Difference, monkeypatch: pytest.MonkeyPatch
):
    for switched_on, expected in ((False, 0), (True, 1)):
        monkeypatch.setattr(instruments.STATE, "by_tenant", switched_on)
        ids = submit(database, catalogue)
        with database.write() as session:
            ledger.cancel(session, Job.id.in_(ids))
        assert grown("limner_tenant_jobs_ended_total", tenant=TENANT, state="canceled") == expected


# --- queues ---


def test_the_leader_measures_each_queue_and_another_dispatcher_none(
    database: Database, catalogue: Catalogue, redis_url: str
):
    waiting = submit(database, catalogue, 3)
    released = submit(database, catalogue, 2)
    with database.write() as session:
        ledger.release(session, Lane.HIGH, released)
        session.get_one(Job, waiting[0]).created_at -= 100
        session.get_one(Job, released[1]).created_at -= 50
    leads = True
    statistics = QueueStatistics(database, [MODEL], lambda: leads, connect(redis_url))
    assert statistics.measure() >= 5
    assert value("limner_queue_jobs", model=MODEL, lane="normal", place="backlog") == 3
    assert value("limner_queue_jobs", model=MODEL, lane="high", place="released") == 2
    assert value("limner_queue_jobs", model=MODEL, lane="low", place="backlog") == 0
    assert 100 <= value("limner_queue_oldest_seconds", model=MODEL, lane="normal", place="backlog") < 150
    assert 50 <= value("limner_queue_oldest_seconds", model=MODEL, lane="high", place="released") < 100
    minute = int(time.time()) // 60
    assert 5 in queue_lengths.read(connect(redis_url), [minute - 1, minute])
    leads = False
    statistics.measure()
    assert not [name for name, _ in values() if name.startswith("limner_queue_")]


@pytest.mark.parametrize("what", ["model", "tenant", "bulk"])
def test_jobs_that_a_pause_holds_are_measured_apart(
    database: Database, catalogue: Catalogue, redis_url: str, what: str
):
    held = submit(database, catalogue, 3)
    others = submit(database, catalogue, 2)
    with database.write() as session:
        ledger.ensure_tenant(session, "tenant_other", "other")
        session.execute(
            update(Job).where(Job.id.in_(others)).values(tenant_id="tenant_other", queue_key="tenant_other")
        )
        if what == "bulk":
            bulk = ledger.open_bulk(session, TENANT)
            session.execute(update(Job).where(Job.id.in_(held)).values(bulk_id=bulk, queue_key=bulk))
            session.execute(update(Bulk).values(state=BulkState.PAUSED))
        else:
            subject = MODEL if what == "model" else TENANT
            pauses.pause(session, PauseKind(what), subject, None, None, actor=audit.OPERATOR)
    QueueStatistics(database, [MODEL], lambda: True, connect(redis_url)).measure()
    waiting = 0 if what == "model" else 2
    assert value("limner_queue_jobs", model=MODEL, lane="normal", place="backlog") == waiting
    assert value("limner_queue_jobs", model=MODEL, lane="normal", place="paused") == 5 - waiting


def test_late_webhooks_are_measured_by_the_leader(database: Database, catalogue: Catalogue, redis_url: str):
    with database.write() as session:
        fields = EndpointFields("", "http://127.0.0.1:9/", [EventType.JOB_CANCELED.value])
        endpoints.create(session, TENANT, fields, actor=audit.OPERATOR)
    [job] = submit(database, catalogue)
    with database.write() as session:
        ledger.cancel(session, Job.id == job)
    for late, leads, expected in ((-60, True, 0), (500, True, 500), (500, False, 0)):
        with database.write() as session:
            session.execute(update(WebhookDelivery).values(next_at=now() - late))
        QueueStatistics(database, [], lambda leads=leads: leads, connect(redis_url)).measure()
        assert expected <= value("limner_webhook_late_seconds") <= expected + 60 * leads


def test_database_errors_are_counted_and_raised(database: Database, grown: Difference):
    database.engine.dispose()
    with pytest.raises(Exception, match="no_such_table"), database.read() as session:
        session.connection().exec_driver_sql("SELECT * FROM no_such_table")
    kinds = [grown("limner_database_errors_total", operation="read", kind=kind) for kind in ("away", "statement")]
    assert sum(kinds) == 1
    assert grown("limner_database_seconds_count", operation="read") == 1


# --- the operator's port ---


def test_a_process_serves_its_metrics_on_loopback_and_nothing_else():
    address = serve_metrics(Settings(), Supervisor())
    assert address.startswith("127.0.0.1:")
    with urlopen(f"http://{address}/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        assert b"# TYPE limner_attempts_total counter" in answer.read()
    with pytest.raises(HTTPError, match="404"):
        urlopen(f"http://{address}/")
    port = int(address.rpartition(":")[2])
    assert serve_metrics(Settings(metrics_port=port), Supervisor()) == "", "a port in use ends no process"
    assert serve_metrics(Settings(metrics=False), Supervisor()) == ""


def test_a_thread_beyond_its_time_limit_makes_the_process_unhealthy() -> None:
    threads, stuck = Supervisor(), Event()
    address = serve_metrics(Settings(), threads)
    with urlopen(f"http://{address}/healthz") as answer:
        assert json.load(answer) == {"status": "ok", "stalled": []}
    threads.start("drawing", lambda: (threads.working(), stuck.wait()), limit_seconds=0.0)
    eventually(threads.stalled)
    with pytest.raises(HTTPError, match="503") as refused:
        urlopen(f"http://{address}/healthz")
    assert json.load(refused.value) == {"status": "stalled", "stalled": ["drawing"]}
    stuck.set()


# --- documentation ---


def test_the_reference_names_every_metric_with_its_labels():
    page = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text("utf-8")
    assert "<!-- generated: metrics -->" in page
    assert all(metric.text.endswith(".") for metric in ALL.values())
    named = set(re.findall(r"`(limner_\w+)`", page))
    assert named <= set(ALL), "the page names a metric that does not exist"
