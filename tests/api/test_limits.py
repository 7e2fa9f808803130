"""The limits of a tenant and of the service: requests over a limit are refused at once, with Retry-After."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask import Response
from sqlalchemy import update

from limner_shared.db.accounts import keys, tenants
from limner_shared.db.accounts.usage import RECENT_SECONDS
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Bulk, Job
from limner_shared.errors import SigningUnavailable
from limner_web.http.problems import problem
from limner_web.http.throttling import WITHOUT_TENANT
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, start
from tests.api.test_bulks import JSONL, both_databases, lines, rows

JOB = {"prompt": "x"}
COSTLY = JOB | {"steps": 24}


@pytest.fixture
def protected_app(make_app: Callable[..., App]):
    """The application with required API keys."""
    return make_app(require_keys=True)


@pytest.fixture
def client(protected_app: App):
    """The client of the application with required keys."""
    return protected_app.test_client()


@pytest.fixture
def tenant(database: Database) -> Callable[..., dict[str, str]]:
    """Creates a tenant with these limits; returns the tenant's request headers."""

    def make(name: str, **limits: float | None) -> dict[str, str]:
        with database.write() as session:
            tenants.change_tenant(session, name, limits)
            return {"Authorization": f"Bearer {keys.create(session, name, 'test')}"}

    return make


def assert_refused(answer: Any, limit: str) -> None:
    assert (answer.status_code, answer.json["code"], answer.json["limit"]) == (429, "limit_reached", limit)
    assert int(answer.headers["Retry-After"]) >= 1


def test_requests_over_the_rate_limit_are_refused_for_that_tenant_only(
    client: ApiClient, tenant: Callable[..., dict[str, str]]
):
    often, other = tenant("often", requests_per_minute=3), tenant("other")
    answers = [client.get("/api/v1/jobs", headers=often) for _ in range(5)]
    assert [answer.status_code for answer in answers[:3]] == [200] * 3
    for answer in answers[3:]:
        assert_refused(answer, "requests_per_minute")
    assert client.get("/api/v1/jobs", headers=other).status_code == 200


def test_answers_name_the_rate_limit_and_what_is_left_of_it(client: ApiClient, tenant: Callable[..., dict[str, str]]):
    often, other = tenant("often", requests_per_minute=2), tenant("other")
    paths = ("/api/v1/jobs", "/api/v1/jobs/job_0", "/api/v1/jobs")
    answers = [client.get(path, headers=often) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 404, 429]
    for answer, left in zip(answers, (1, 0, 0), strict=True):
        assert answer.headers["RateLimit-Policy"] == '"requests_per_minute";q=2;w=60'
        found = re.fullmatch(rf'"requests_per_minute";r={left};t=(\d+)', answer.headers["RateLimit"])
        assert found
        assert 1 <= int(found[1]) <= 60
    assert answers[2].headers["Retry-After"] == found[1]
    assert "RateLimit" not in client.get("/api/v1/jobs", headers=other).headers


@both_databases
def test_usage_shows_costs_jobs_and_limits(
    client: ApiClient, tenant: Callable[..., dict[str, str]], protected_app: App
):
    headers = tenant("often", requests_per_minute=90, max_queued=9, cost_per_day=10_000)
    ids = [client.post("/api/v1/jobs", json=COSTLY, headers=headers).json["id"] for _ in range(3)]
    start(protected_app, ids[0])
    found = client.get("/api/v1/usage", headers=headers).json
    [day] = found["days"]
    assert (day["cost"], found["queued"], found["running"]) == (3 * 384, 2, 1)
    assert found["limits"] == {
        "requests_per_minute": 90,
        "max_queued": 9,
        "max_running": None,
        "cost_per_day": 10_000,
    }
    assert (found["accepted"][0], len(found["accepted"])) == ({"day": day["day"], "jobs": 3}, 14)
    assert {each["jobs"] for each in found["accepted"][1:]} == {0}
    nothing = client.get("/api/v1/usage", headers=tenant("new")).json
    assert (nothing["days"], nothing["queued"], set(nothing["limits"].values())) == ([], 0, {None})


def test_the_rate_limit_works_without_redis(make_app: Callable[..., App], tenant: Callable[..., dict[str, str]]):
    client = make_app(require_keys=True, redis_url="redis://127.0.0.1:1/0").test_client()
    often = tenant("often", requests_per_minute=2)
    codes = [client.get("/api/v1/models", headers=often).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


def test_jobs_over_the_queue_limit_are_refused(
    client: ApiClient, tenant: Callable[..., dict[str, str]], protected_app: App
):
    few = tenant("few", max_queued=2)
    for _ in range(2):
        assert client.post("/api/v1/jobs", json=JOB, headers=few).status_code == 202
    assert_refused(client.post("/api/v1/jobs", json=JOB, headers=few), "max_queued")
    assert rows(protected_app, Job) == 2


@pytest.mark.parametrize("limits", [{"max_queued": 1500}, {"cost_per_day": 384 * 1500}])
def test_a_bulk_that_exceeds_a_limit_is_refused_as_a_whole_for_good_if_no_later_time_allows_it(
    client: ApiClient, tenant: Callable[..., dict[str, str]], protected_app: App, limits: dict[str, Any]
):
    few = tenant("few", **limits)
    refused = client.post("/api/v1/bulks", data=lines(COSTLY) * 2500, content_type=JSONL, headers=few)
    assert (refused.status_code, refused.json["code"], refused.json["limit"]) == (422, "limit_too_low", *limits)
    assert "Retry-After" not in refused.headers
    assert rows(protected_app, Job) == rows(protected_app, Bulk) == 0
    accepted = client.post("/api/v1/bulks", data=lines(COSTLY) * 1500, content_type=JSONL, headers=few)
    assert accepted.status_code == 202, "the refused bulk was counted"
    later = client.post("/api/v1/bulks", data=lines(COSTLY) * 1500, content_type=JSONL, headers=few)
    assert_refused(later, next(iter(limits)))


def test_jobs_over_the_daily_cost_limit_are_refused(client: ApiClient, tenant: Callable[..., dict[str, str]]):
    poor = tenant("poor", cost_per_day=1000)
    assert client.post("/api/v1/jobs", json=COSTLY, headers=poor).status_code == 202
    refused = client.post("/api/v1/jobs", json=COSTLY | {"n": 2}, headers=poor)
    assert_refused(refused, "cost_per_day")
    assert int(refused.headers["Retry-After"]) <= 86_401
    assert client.post("/api/v1/jobs", json=COSTLY, headers=poor).status_code == 202


def test_a_request_for_a_static_file_gives_its_slot_back(client: ApiClient):
    for _ in range(3):
        with client.get("/static/icon.svg") as answer:
            assert answer.status_code == 200
    assert client.get("/readyz").json["load"]["requests"]["held"] == 0


def test_a_request_whose_response_cannot_be_built_returns_its_slot(make_app: Callable[..., App]):
    app = make_app()

    def breaks(_response: Response) -> Response:
        raise KeyError("x")

    app.after_request(breaks)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert app.test_client().get("/api/v1/jobs").status_code == 500
    assert app.extensions["limner"].limiter.held["requests"] == 0


def test_an_overloaded_service_refuses_requests_and_reports_it_in_its_probes(make_app: Callable[..., App]):
    app = make_app(max_requests=1)
    client = app.test_client()
    limiter = app.extensions["limner"].limiter
    slots = limiter.acquire("requests")
    refused = client.get("/api/v1/models")
    assert (refused.status_code, refused.json["code"]) == (503, "overloaded")
    assert refused.headers["Retry-After"] == "1"
    assert client.get("/readyz").status_code == 503
    assert client.get("/readyz").json["status"] == "overloaded"
    assert client.get("/healthz").status_code == 200
    limiter.release(slots)
    for _ in range(3):
        assert client.get("/api/v1/models").status_code == 200, "a response did not release its slot"
    assert client.get("/readyz").json["load"]["requests"] == {"held": 0, "limit": 1}


def test_a_client_is_told_to_wait_for_whole_seconds(protected_app: App):
    with protected_app.test_request_context("/api/v1/images/img_x"):
        assert problem(SigningUnavailable(retry_after=9.2)).headers["Retry-After"] == "10"
        assert problem(SigningUnavailable(retry_after=10.0)).headers["Retry-After"] == "10"


def test_requests_without_a_key_leave_slots_for_those_with_one(
    make_app: Callable[..., App], tenant: Callable[..., dict[str, str]]
):
    app = make_app(require_keys=True, max_requests=4)
    client, limiter = app.test_client(), app.extensions["limner"].limiter
    read_by_link = [limiter.acquire("requests") for _ in range(2)]
    for slots in read_by_link:
        limiter.assign_tenant(slots, WITHOUT_TENANT)
    for path in ("/i/token", "/sign-in", "/api/v1/openapi.json"):
        assert client.get(path).status_code == 429, path
    assert client.get("/api/v1/models", headers=tenant("mine")).status_code == 200
    limiter.release(read_by_link[0])
    assert client.get("/sign-in").status_code == 200


@both_databases
def test_usage_counts_the_images_of_the_last_ten_minutes(
    client: ApiClient, tenant: Callable[..., dict[str, str]], protected_app: App, database: Database
):
    headers = tenant("often")
    ids = [client.post("/api/v1/jobs", json=JOB | {"n": 2}, headers=headers).json["id"] for _ in range(3)]
    for job_id in ids[:2]:
        finish(protected_app, start(protected_app, job_id), b"one", b"two")
    assert client.get("/api/v1/usage", headers=headers).json["recent_images"] == 4
    with database.write() as session:
        session.execute(update(Job).where(Job.id == ids[0]).values(finished_at=now() - RECENT_SECONDS))
    assert client.get("/api/v1/usage", headers=headers).json["recent_images"] == 2
    assert client.get("/api/v1/usage", headers=tenant("other")).json["recent_images"] == 0
