"""What a tenant may ask for, and what the whole service takes on: refused at once, with when to try again."""

from __future__ import annotations

import pytest

from limner_shared.db.accounts import keys, tenants
from limner_shared.db.tables import Bulk, Job
from tests.api.test_bulks import JSONL, lines, rows

JOB = {"prompt": "x"}


@pytest.fixture
def closed(make_app):
    """The application with keys required."""
    return make_app(require_keys=True)


@pytest.fixture
def client(closed):
    """Asks it."""
    return closed.test_client()


@pytest.fixture
def tenant(database):
    """Makes a tenant with these limits; returns the headers that it asks with."""

    def make(name: str, **limits: float | None) -> dict[str, str]:
        with database.write() as session:
            tenants.change_tenant(session, name, limits)
            return {"Authorization": f"Bearer {keys.create(session, name, 'test')}"}

    return make


def assert_refused(answer, limit: str) -> None:
    assert (answer.status_code, answer.json["code"], answer.json["limit"]) == (429, "limit_reached", limit)
    assert int(answer.headers["Retry-After"]) >= 1


def test_more_requests_a_minute_than_allowed_are_refused_and_nobody_elses(client, tenant):
    often, other = tenant("often", requests_per_minute=3), tenant("other")
    answers = [client.get("/api/v1/jobs", headers=often) for _ in range(5)]
    assert [answer.status_code for answer in answers[:3]] == [200] * 3
    for answer in answers[3:]:
        assert_refused(answer, "requests_per_minute")
    assert client.get("/api/v1/jobs", headers=other).status_code == 200


def test_requests_are_counted_while_redis_is_away_too(make_app, tenant):
    client = make_app(require_keys=True, redis_url="redis://127.0.0.1:1/0").test_client()
    often = tenant("often", requests_per_minute=2)
    codes = [client.get("/api/v1/models", headers=often).status_code for _ in range(3)]
    assert codes == [200, 200, 429]


def test_no_more_jobs_are_queued_than_allowed(client, tenant, closed):
    few = tenant("few", max_queued=2)
    for _ in range(2):
        assert client.post("/api/v1/jobs", json=JOB, headers=few).status_code == 202
    assert_refused(client.post("/api/v1/jobs", json=JOB, headers=few), "max_queued")
    assert rows(closed, Job) == 2


@pytest.mark.parametrize("limits", [{"max_queued": 1500}, {"cost_per_day": 384 * 1500}])
def test_a_bulk_that_goes_beyond_a_limit_in_its_middle_is_refused_whole(client, tenant, closed, limits):
    few = tenant("few", **limits)
    refused = client.post("/api/v1/bulks", data=lines(JOB) * 2500, content_type=JSONL, headers=few)
    assert_refused(refused, next(iter(limits)))
    assert rows(closed, Job) == rows(closed, Bulk) == 0
    accepted = client.post("/api/v1/bulks", data=lines(JOB) * 1500, content_type=JSONL, headers=few)
    assert accepted.status_code == 202, "what was refused is not counted"


def test_no_more_cost_units_a_day_are_granted_than_allowed(client, tenant):
    poor = tenant("poor", cost_per_day=1000)
    assert client.post("/api/v1/jobs", json=JOB, headers=poor).status_code == 202
    refused = client.post("/api/v1/jobs", json=JOB | {"n": 2}, headers=poor)
    assert_refused(refused, "cost_per_day")
    assert int(refused.headers["Retry-After"]) <= 86_401
    assert client.post("/api/v1/jobs", json=JOB, headers=poor).status_code == 202


def test_with_all_hands_full_requests_are_refused_and_the_probes_say_so(make_app):
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
        assert client.get("/api/v1/models").status_code == 200, "the slot is released with the response"
    assert client.get("/readyz").json["load"]["requests"] == {"held": 0, "limit": 1}
