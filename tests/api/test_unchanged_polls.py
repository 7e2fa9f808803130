"""Repeated polls of an unchanged job: answered from memory, and never after the job, the request or a limit differs."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from limner_shared.db.accounts import keys, tenants
from limner_shared.db.engine import Database
from limner_shared.domain.views import JobView
from limner_web.api import jobs
from limner_web.services import Services
from limner_web.updates import unchanged
from limner_web.updates.unchanged import UnchangedPolls
from tests.api.clients import Answer, ApiClient, App
from tests.api.test_keys import id_of, make_key
from tests.processes import eventually

JOBS = "/api/v1/jobs"
Headers = dict[str, str]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The jobs that polls have read from the database."""
    read: list[str] = []
    view = jobs.read_job_view

    def noted(services: Services, tenant_id: str, job_id: str) -> JobView:
        read.append(job_id)
        return view(services, tenant_id, job_id)

    monkeypatch.setattr(jobs, "read_job_view", noted)
    return read


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a hint ends an answer, however slow the machine is."""
    monkeypatch.setattr(unchanged, "RECHECK_SECONDS", 600.0)


def submitted(client: ApiClient, headers: Headers | None = None) -> tuple[str, Headers]:
    """The path of a new job, and the headers of a poll that names its ETag."""
    made: dict[str, Any] = client.post(JOBS, json={"prompt": "a red apple"}, headers=headers).json or {}
    path = f"{JOBS}/{made['id']}"
    tag = client.get(path, headers=headers).headers["ETag"]
    return path, (headers or {}) | {"If-None-Match": tag}


def poll(client: ApiClient, path: str, headers: Headers) -> Answer:
    return client.get(path, headers=headers)


def changed_answer(client: ApiClient, path: str, headers: Headers) -> Answer | None:
    answer = poll(client, path, headers)
    return answer if answer.status_code == 200 else None


@pytest.mark.usefixtures("patient")
def test_a_repeated_poll_is_answered_as_before_without_a_query(client: ApiClient, reads: list[str]) -> None:
    path, headers = submitted(client)
    first = poll(client, path, headers)
    reads.clear()
    again = poll(client, path, headers | {"X-Request-Id": "mine"})
    assert (first.status_code, again.status_code, again.data, reads) == (304, 304, b"", [])
    for name in ("ETag", "Cache-Control", "Retry-After", "Content-Security-Policy"):
        assert again.headers[name] == first.headers[name], name
    assert again.headers["X-Request-Id"] == "mine"


def test_the_headers_of_remembered_polls_are_not_kept(app: App, client: ApiClient) -> None:
    path, headers = submitted(client)
    polls = UnchangedPolls(app.extensions["limner"].listener)
    tracemalloc.start()
    for number in range(40):
        environ = {"PATH_INFO": path, "QUERY_STRING": "", "HTTP_PADDING": f"{number}" * 50_000}
        polls.remember(environ | {"HTTP_IF_NONE_MATCH": headers["If-None-Match"]}, "job", [], 0.0)
    of_polls = [tracemalloc.Filter(True, file) for file in (__file__, unchanged.__file__)]  # not of other threads
    kept = tracemalloc.take_snapshot().filter_traces(of_polls)
    tracemalloc.stop()
    assert sum(each.size for each in kept.traces) < 200_000


@pytest.mark.usefixtures("patient")
def test_a_change_of_the_job_ends_the_answer_at_once(client: ApiClient, reads: list[str]) -> None:
    path, headers = submitted(client)
    assert [poll(client, path, headers).status_code for _ in range(3)] == [304] * 3
    client.post(f"{path}/cancel")
    changed = eventually(lambda: changed_answer(client, path, headers))
    assert changed is not None
    assert (changed.json or {})["status"] == "canceled"
    client.delete(path)
    eventually(lambda: poll(client, path, {"If-None-Match": changed.headers["ETag"]}).status_code == 404)


def test_a_change_whose_hint_was_lost_is_noticed_later(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    path, headers = submitted(client)
    poll(client, path, headers)
    monkeypatch.setattr(unchanged, "RECHECK_SECONDS", 0.0)
    reads.clear()
    assert poll(client, path, headers).status_code == 304
    assert len(reads) == 1


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize(
    "more", [{"Host": "limner.example"}, {"X-Forwarded-For": "10.1.1.1"}, {"Authorization": "Bearer no"}]
)
def test_a_poll_with_other_headers_is_checked_as_any_request(client: ApiClient, more: Headers) -> None:
    path, headers = submitted(client)
    poll(client, path, headers)
    assert poll(client, path, headers | more).status_code in (401, 403)
    assert client.post(path, headers=headers).status_code == 405
    assert client.get(f"{path}?wait=0", headers=headers).status_code == 304


def test_another_tenant_a_revoked_key_and_a_counted_tenant_get_no_remembered_answer(
    make_app: Callable[..., App], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = make_app(require_keys=True).test_client()
    mine, other = make_key(database, "mine"), make_key(database, "other")
    path, headers = submitted(client, mine)
    assert [poll(client, path, headers).status_code for _ in range(2)] == [304, 304]
    assert poll(client, path, headers | other).status_code == 404
    with database.write() as session:
        keys.revoke(session, id_of(mine))
    monkeypatch.setattr(unchanged, "RECHECK_SECONDS", 0.0)
    assert poll(client, path, headers).status_code == 401
    monkeypatch.setattr(unchanged, "RECHECK_SECONDS", 600.0)
    with database.write() as session:
        tenants.change_tenant(session, "other", {"requests_per_minute": 5})
    path, headers = submitted(client, other)
    assert [poll(client, path, headers).status_code for _ in range(5)] == [304, 304, 304, 429, 429]


def test_only_the_newest_polls_are_remembered(
    client: ApiClient, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    monkeypatch.setattr(unchanged, "MOST", 1)
    first, second = submitted(client), submitted(client)
    for path, headers in (first, second):
        poll(client, path, headers)
    reads.clear()
    for path, headers in (second, first):
        assert poll(client, path, headers).status_code == 304
    assert reads == [first[0].rpartition("/")[2]]
