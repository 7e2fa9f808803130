"""Which requests and jobs are traced, and how release and webhooks continue their traces."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from limner_dispatcher.dispatcher import Dispatcher
from limner_shared import trace_export
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.hints import connect
from limner_shared.settings import Settings
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import start
from tests.collector import Collector, ReceivedSpan, collector
from tests.exporters import end_tracing

JOBS, BULKS = "/api/v1/jobs", "/api/v1/bulks"
CLIENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """This process traces, as a web server."""
    with collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.endpoint)
        trace_export.configure(Settings(), "web")
        yield running
        end_tracing()


def sent(running: Collector) -> dict[str, list[ReceivedSpan]]:
    """The spans by name, after the process has sent the last ones."""
    trace_export.close()
    found: dict[str, list[ReceivedSpan]] = {}
    for span in running.spans:
        found.setdefault(span.name, []).append(span)
    return found


def test_a_request_is_traced_with_its_transactions_and_its_job(
    collecting: Collector, client: ApiClient, database: Database
):
    answer = client.post(JOBS, json={"prompt": "a red apple"}, headers={"X-Request-Id": "mine"})
    with database.read() as session:
        stored = session.scalars(select(Job.traceparent)).one()
    spans = sent(collecting)
    [request] = spans["POST /api/v1/jobs"]
    assert stored == f"00-{request.trace_id}-{request.span_id}-{stored[-2:]}"
    assert request.attributes["http.route"] == "/api/v1/jobs"
    assert request.attributes["http.response.status_code"] == answer.status_code
    assert request.attributes["limner.job.id"] == answer.json["id"]
    assert request.attributes["limner.request.id"] == "mine"
    assert {span.parent_id for span in spans["database write"]} == {request.span_id}
    [message] = spans["send limner.limner-flow.first"]
    assert message.parent_id == request.span_id


def test_a_request_that_reads_is_traced_only_in_its_clients_trace(collecting: Collector, client: ApiClient):
    client.get("/api/v1/models")
    client.get("/api/v1/models", headers={"traceparent": CLIENT})
    client.get("/healthz", headers={"traceparent": CLIENT})
    [request] = sent(collecting)["GET /api/v1/models"]
    assert request.trace_id == CLIENT.split("-")[1]
    assert len({span.trace_id for span in collecting.spans}) == 1


def test_a_refused_request_is_traced_and_an_unknown_route_has_one_name(collecting: Collector, client: ApiClient):
    client.post(JOBS, json={"prompt": ""})
    client.post("/api/v1/nothing/secret-123", json={})
    spans = sent(collecting)
    assert spans["POST /api/v1/jobs"][0].attributes["http.response.status_code"] == 422
    assert not spans["POST /api/v1/jobs"][0].is_error  # the client's fault
    assert "secret-123" not in repr(spans["POST (unknown)"])


def test_of_a_bulk_a_few_jobs_have_traces_that_link_to_its_request(
    collecting: Collector, client: ApiClient, database: Database
):
    lines = "".join(json.dumps({"prompt": f"picture {number}"}) + "\n" for number in range(9))
    bulk_id = client.post(BULKS, data=lines, content_type="application/jsonl").json["id"]
    with database.read() as session:
        query = select(Job.bulk_line, Job.traceparent).where(Job.traceparent.is_not(None))
        traced = {row.bulk_line: row.traceparent.split("-")[1] for row in session.execute(query)}
    spans = sent(collecting)
    [request] = spans["POST /api/v1/bulks"]
    assert traced.keys() == {1, 2, 4, 8}
    assert {span.attributes["limner.bulk.line"]: span.trace_id for span in spans["bulk line"]} == traced
    assert {link for span in spans["bulk line"] for link in span.links} == {request.trace_id}
    assert request.trace_id not in traced.values()
    assert request.attributes["limner.bulk.id"] == bulk_id


def test_without_a_collector_no_job_is_traced(client: ApiClient, database: Database):
    client.post(JOBS, json={"prompt": "a red apple"}, headers={"traceparent": CLIENT})
    with database.read() as session:
        assert session.scalars(select(Job.traceparent)).one() is None


def test_a_job_that_the_dispatcher_releases_continues_its_trace(
    collecting: Collector, client: ApiClient, settings: Settings, database: Database, catalogue: Catalogue
):
    lines = json.dumps({"prompt": "one of a bulk"}) + "\n"
    client.post(BULKS, data=lines, content_type="application/jsonl")
    celery, redis = make_celery(settings), connect(settings.redis_url, decode_responses=False)
    Dispatcher(settings, catalogue, database, redis, celery).release()
    celery.close()
    redis.close()
    spans = sent(collecting)
    [line] = spans["bulk line"]
    below = [span.name for span in collecting.trace(line.trace_id) if span.parent_id == line.span_id]
    assert below == ["release", "send limner.limner-flow.low"]


def test_a_job_that_is_queued_again_and_canceled_is_marked_in_its_trace(
    collecting: Collector, app: App, client: ApiClient, database: Database
):
    job_id = client.post(JOBS, json={"prompt": "a red apple"}).json["id"]
    claim = start(app, job_id)
    with database.write() as session:
        ledger.hand_back(session, [claim.key])
    with database.write() as session:
        ledger.cancel(session, Job.id == job_id)
        session.rollback()  # what did not happen is not marked
    client.post(f"{JOBS}/{job_id}/cancel")
    spans = sent(collecting)
    [request] = spans["POST /api/v1/jobs"]
    [requeued], [canceled] = spans["requeued"], spans["canceled"]
    assert requeued.parent_id == canceled.parent_id == request.span_id
    assert requeued.attributes["limner.reason"] == "worker stopping"
    assert requeued.attributes["limner.attempt.number"] == 1
