"""Jobs over HTTP."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from limner_shared.db import ledger
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import StorageFailed
from limner_shared.messaging.hints import Progress
from limner_shared.messaging.reports import DispatcherReport, FailingItem, WorkerReport, delete_report, write_report
from limner_shared.storage.blobs import Blobs
from limner_web.intake import submission
from limner_web.updates import unchanged as unchanged_polls
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.redis_clients import redis_at


def submit(client: ApiClient, **fields: Any) -> dict[str, Any]:
    answer = client.post("/api/v1/jobs", json={"prompt": "a red apple"} | fields)
    assert answer.status_code == 202, answer.text
    return answer.json


def test_a_new_job_has_its_position_and_a_location(client: ApiClient):
    answer = client.post("/api/v1/jobs", json={"prompt": "a red apple", "seed": 7, "metadata": {"mine": 1}})
    assert answer.status_code == 202
    job = answer.json
    assert answer.headers["Location"].endswith(job["links"]["self"])
    assert (job["status"], job["seed"], job["position"], job["metadata"]) == ("queued", 7, 0, {"mine": 1})
    assert client.get(job["links"]["self"]).json == job
    assert submit(client)["position"] == 1


def test_a_job_shows_its_progress_and_then_its_pictures(client: ApiClient, app: App):
    job = submit(client, n=2)
    claim = start(app, job["id"])
    services = app.extensions["limner"]
    services.hints.progressed({job["id"]: (claim.tenant_id, Progress(5, 48))})
    running = client.get(job["links"]["self"]).json
    assert (running["status"], running["progress"]) == ("running", {"done": 5, "total": 48})
    finish(app, claim, png("red"), png("green"))
    done = client.get(job["links"]["self"]).json
    assert done["status"] == "succeeded"
    assert [image["seed"] for image in done["images"]] == [job["seed"], (job["seed"] + 1) % 2**32]
    assert client.get(done["images"][1]["url"]).data == png("green")


def test_a_progress_and_a_preview_that_cannot_be_read_are_left_out(client: ApiClient, app: App):
    job, redis = submit(client), app.extensions["limner"].hints.redis
    start(app, job["id"])
    for value in ("x", "5", "[]", '{"done": 1}', b"\xff"):
        redis.mset({f"limner:{kind}:{job['id']}": value for kind in ("progress", "preview")})
        [listed] = client.get("/api/v1/jobs").json["items"]
        assert (listed["status"], listed["progress"]) == ("running", None)
        assert client.get(f"{job['links']['self']}/preview").status_code == 204


def test_an_unchanged_job_returns_304_and_a_changed_one_200(
    client: ApiClient, app: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(unchanged_polls, "RECHECK_SECONDS", 0.0)  # the changes here come without hints
    job = submit(client)
    first = client.get(job["links"]["self"])
    assert "Retry-After" in first.headers
    unchanged = client.get(job["links"]["self"], headers={"If-None-Match": first.headers["ETag"]})
    assert (unchanged.status_code, unchanged.data) == (304, b"")
    start(app, job["id"])
    assert client.get(job["links"]["self"], headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


def test_a_long_poll_returns_as_soon_as_the_job_ends(client: ApiClient, app: App):
    job = submit(client)
    claim = start(app, job["id"])
    later = threading.Timer(0.3, lambda: finish(app, claim, png("red")))
    later.start()
    started = time.monotonic()
    answer = client.get(f"{job['links']['self']}?wait=20")
    assert answer.json["status"] == "succeeded"
    assert time.monotonic() - started < 10
    later.join()


def test_jobs_are_listed_newest_first_in_pages_and_by_state(client: ApiClient, app: App):
    ids = [submit(client)["id"] for _ in range(5)]
    start(app, ids[0])
    first = client.get("/api/v1/jobs?limit=3").json
    second = client.get(f"/api/v1/jobs?limit=3&cursor={first['next']}").json
    assert [job["id"] for job in first["items"] + second["items"]] == ids[::-1]
    assert second["next"] is None
    assert [job["id"] for job in client.get("/api/v1/jobs?status=running").json["items"]] == ids[:1]
    assert client.get("/api/v1/jobs?state=running").json["items"] == first["items"][3:] + second["items"][1:]
    assert client.get("/api/v1/jobs?model=other").json["items"] == []


def test_a_job_can_be_canceled_until_it_ends(client: ApiClient, app: App):
    job = submit(client)
    assert client.post(job["links"]["cancel"]).json["status"] == "canceled"
    assert client.post(job["links"]["cancel"]).status_code == 200
    done = submit(client)
    finish(app, start(app, done["id"]), png("red"))
    refused = client.post(done["links"]["cancel"])
    assert (refused.status_code, refused.json["code"]) == (409, "invalid_state")


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_a_scheduled_job_shows_its_time_and_no_position(client: ApiClient, app: App):
    at = in_seconds(3600)
    job = submit(client, not_before=at, expires_in=7200)
    assert (job["status"], job["position"]) == ("queued", None)
    assert datetime.fromisoformat(job["not_before"]) == datetime.fromisoformat(at)
    assert datetime.fromisoformat(job["expires_at"]) > datetime.fromisoformat(at)
    answer = client.get(job["links"]["self"])
    assert answer.headers["Retry-After"] == "10"
    with app.extensions["limner"].database.write() as session:
        assert ledger.claim(session, [job["id"]], "a worker", 60) == []
        session.execute(update(Job).values(not_before=1.0))
        ledger.start_due(session, 9)
    due = client.get(job["links"]["self"], headers={"If-None-Match": answer.headers["ETag"]})
    assert (due.status_code, due.json["not_before"], due.json["position"]) == (200, None, 0)
    assert client.post(job["links"]["cancel"]).json["status"] == "canceled"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"not_before": in_seconds(31 * 86400)}, "not_before"),
        ({"not_before": "9999-12-31T23:59:59-23:59"}, "not_before"),
        ({"not_before": "2026-12-24T18:00:00"}, "not_before"),
        ({"not_before": "2026-13-24T18:00:00Z"}, "not_before"),
        ({"not_before": "20261224T180000Z"}, "not_before"),
        ({"not_before": 1764000000}, "not_before"),
        ({"not_before": in_seconds(3600), "expires_in": 60}, "expires_in"),
        ({"max_retries": 21}, "max_retries"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_retries": 1.5}, "max_retries"),
    ],
)
def test_a_time_or_a_number_of_retries_beyond_the_limits_is_refused(
    client: ApiClient, fields: dict[str, Any], field: str
):
    answer = client.post("/api/v1/jobs", json={"prompt": "a red apple"} | fields)
    assert answer.status_code == 422
    named = answer.json.get("field") or answer.json["errors"][0]["field"]
    assert named == field


def test_a_past_time_in_any_rfc_3339_form_starts_a_job_at_once(client: ApiClient):
    for past in ("2020-01-01T00:00:00Z", "2020-01-01t00:00:00.123456789z", "0001-01-01 00:00:00+23:59"):
        assert submit(client, not_before=past)["not_before"] is None


def test_a_retried_job_shows_its_retries_and_its_last_error(client: ApiClient, app: App):
    job = submit(client, max_retries=1)
    assert (job["retries"], job["max_retries"], job["last_error"]) == (0, 1, None)
    services = app.extensions["limner"]

    def fail() -> None:
        claim = start(app, job["id"])
        with services.database.write() as session:
            assert ledger.fail(session, ledger.Result(job["id"], claim.attempt, error=StorageFailed()))

    fail()
    retried = client.get(job["links"]["self"]).json
    assert (retried["status"], retried["retries"], retried["error"]) == ("queued", 1, None)
    assert retried["last_error"]["code"] == "storage_failed"
    assert retried["not_before"] is not None
    with services.database.write() as session:
        session.execute(update(Job).values(not_before=1.0))
        ledger.start_due(session, 9)
    fail()
    failed = client.get(job["links"]["self"]).json
    assert (failed["status"], failed["retries"], failed["last_error"]) == ("failed", 1, None)
    assert (failed["error"]["code"], failed["attempts"]) == ("storage_failed", 2)


def test_a_job_has_the_models_retries_unless_it_chooses_fewer(client: ApiClient):
    [model, *_] = client.get("/api/v1/models").json["items"]
    assert model["max_retries"] == {"min": 0, "max": 20, "default": 5}
    assert [submit(client)["max_retries"], submit(client, max_retries=0)["max_retries"]] == [5, 0]


def test_a_request_without_the_new_fields_keeps_the_digest_of_earlier_releases(app: App):
    text = (
        '{"prompt":"a red apple","description":null,"negative_prompt":null,"model":null,"style":null,"width":null,'
        '"height":null,"steps":null,"guidance":null,"guidance_rescale":null,"scheduler":null,"adapters":[],'
        '"image":null,"mask":null,"strength":null,"seed":7,"n":1,"priority":null,"expires_in":null,'
        '"reproducible":false,"provenance":true,"metadata":{}}'
    )
    digest = submission._digest(app.extensions["limner"], "", JobRequest(prompt="a red apple", seed=7))
    assert digest == hashlib.sha256(text.encode()).hexdigest()


def test_a_picture_is_returned_in_the_requested_format(client: ApiClient, app: App):
    job = submit(client)
    finish(app, start(app, job["id"]), png("red"))
    url = client.get(job["links"]["self"]).json["images"][0]["url"]
    assert client.get(url).mimetype == "image/png"
    assert client.get(url, headers={"Accept": "image/webp"}).data[8:12] == b"WEBP"
    jpeg = client.get(f"{url}?format=jpeg&download=true")
    assert jpeg.data[:2] == b"\xff\xd8"
    assert "attachment" in jpeg.headers["Content-Disposition"]
    assert client.get(url, headers={"If-None-Match": client.get(url).headers["ETag"]}).status_code == 304
    refused = client.get(url, headers={"Accept": "text/plain"})
    assert (refused.status_code, refused.json["code"]) == (406, "not_acceptable")


def test_a_picture_with_deleted_bytes_is_not_found(client: ApiClient, app: App):
    job = submit(client)
    claim = start(app, job["id"])
    services = app.extensions["limner"]
    with services.database.write() as session:
        image = ledger.NewImage("ab" * 32, "image/png", 1, 1, 1, 1, {})
        ledger.finish(session, [ledger.Result(claim.id, claim.attempt, [image])])
    url = client.get(job["links"]["self"]).json["images"][0]["url"]
    assert client.get(url).status_code == 404
    assert isinstance(services.blobs, Blobs)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"prompt": ""}, "Describe the picture you want."),
        ({"prompt": "   "}, "Describe the picture you want."),
        ({}, "prompt"),
        ({"prompt": "x" * 501}, "500"),
        ({"prompt": "x" * 30_000}, "20000"),
        ({"prompt": "x", "width": 100}, "256x256"),
        ({"prompt": "x", "width": "256"}, "width"),
        ({"prompt": "x", "steps": 1000}, "1 to 100"),
        ({"prompt": "x", "n": 0}, "n"),
        ({"prompt": "x", "n": 1000}, "1 to 16"),
        ({"prompt": "x", "style": "cubist"}, "noto"),
        ({"prompt": "x", "model": "gpt"}, "limner-flow"),
        ({"prompt": "x", "seed": 2**40}, "seed"),
        ({"prompt": "x", "stepz": 3}, "stepz"),
        ({"prompt": "x", "priority": "asap"}, "priority"),
    ],
)
def test_an_invalid_request_returns_a_problem_with_the_field_or_the_allowed_values(
    client: ApiClient, body: dict[str, Any], says: str
):
    answer = client.post("/api/v1/jobs", json=body)
    assert answer.status_code == 422
    assert answer.mimetype == "application/problem+json"
    assert answer.json["code"] == "invalid_request"
    assert says in answer.json["detail"]
    assert client.get("/api/v1/jobs").json["items"] == []


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b'{"prompt": ', "application/json", 400, "malformed_body"),
        (b"[]", "application/json", 400, "malformed_body"),
        (b"\xff\xfe", "application/json", 400, "malformed_body"),
        (b"prompt=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b'{"prompt": "x"}', None, 415, "unsupported_media_type"),
        (b'{"prompt": "' + b"x" * (17 << 20) + b'"}', "application/json", 413, "body_too_large"),
    ],
)
def test_an_unreadable_body_is_refused_with_a_reason(
    client: ApiClient, data: bytes, content_type: str | None, status: int, code: str
):
    answer = client.post("/api/v1/jobs", data=data, content_type=content_type)
    assert (answer.status_code, answer.json["code"]) == (status, code)


@pytest.mark.parametrize("path", ["/api/v1/jobs/job_x", "/api/v1/images/img_x", "/api/v1/bulks/bulk_x", "/nowhere"])
def test_a_missing_resource_is_a_404_with_a_code(client: ApiClient, path: str):
    answer = client.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_a_job_is_accepted_quickly_without_redis(make_app: Callable[..., App]):
    client = make_app(redis_url="redis://127.0.0.1:1/0").test_client()
    started = time.monotonic()
    job = submit(client)
    assert time.monotonic() - started < 3
    assert client.get(job["links"]["self"]).json["status"] == "queued"
    assert client.get("/readyz").json["status"] == "degraded"


def test_an_unavailable_database_is_a_503(client: ApiClient, app: App):
    app.extensions["limner"].database.dispose()
    file = Path(app.extensions["limner"].settings.database_url.removeprefix("sqlite:///"))
    file.unlink()
    file.mkdir()
    answer = client.get("/api/v1/jobs")
    assert answer.status_code == 503
    assert answer.json["code"] == "service_unavailable"
    assert client.get("/healthz").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_every_response_has_a_request_id_and_security_headers(client: ApiClient):
    answer = client.get("/api/v1/models", headers={"X-Request-Id": "mine"})
    assert answer.headers["X-Request-Id"] == "mine"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'self'" in answer.headers["Content-Security-Policy"]
    assert answer.json["items"][0]["sizes"] == ["256x256", "64x64"]


def test_the_service_is_ready_when_database_and_redis_are(client: ApiClient):
    ready = client.get("/readyz").json
    assert (ready["status"], ready["database"], ready["redis"]) == ("ok", "ok", "ok")
    assert (ready["dispatchers"]["running"], ready["workers"]["running"]) == (0, 0)


def test_readiness_reports_set_aside_items_stalled_threads_and_paused_models(client: ApiClient, redis_url: str):
    aside = FailingItem(duty="sweep bulks", item="bulk_7", error="IntegrityError", failures=4, retry_in=8.0)
    dispatcher = DispatcherReport(
        owner="a",
        leads=["dispatch"],
        finished={},
        failures={},
        set_aside=[aside],
        set_aside_count=1,
        threads={"release": 0.1, "retention": 40.0},
    )
    values: dict[str, Any] = {
        "models": ["limner-flow"],
        "device": "cpu",
        "held": 3,
        "closed": ["limner-flow"],
        "stalled": ["engine"],
    }
    with redis_at(redis_url) as redis:
        write_report(redis, dispatcher)
        write_report(redis, WorkerReport(owner="b", **values))
        ready = client.get("/readyz").json
        delete_report(redis, DispatcherReport, "a")
        delete_report(redis, WorkerReport, "b")
    assert ready["status"] == "ok"
    assert ready["dispatchers"] == {"running": 1, "leads": ["dispatch"], "set_aside": 1, "stalled": ["retention"]}
    assert ready["workers"] == {"running": 1, "held": 3, "paused": ["limner-flow"], "stalled": ["engine"]}
