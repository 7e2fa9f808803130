"""API keys, and what a tenant can see."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, text, update
from sqlalchemy.exc import OperationalError

from limner_shared.db.accounts import audit, keys
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import ApiKey
from limner_shared.domain.access import Expiry
from limner_shared.errors import InvalidRequest, NotFound, Unauthorized
from limner_shared.settings import Settings
from tests.api.clients import ApiClient, App
from tests.api.fake_worker import finish, png, start
from tests.api.test_bulks import both_databases
from tests.processes import eventually

KEYS, AUDIT = "/api/v1/keys", "/api/v1/audit"


@pytest.fixture
def protected_app(make_app: Callable[..., App]):
    """The application with required API keys."""
    return make_app(require_keys=True)


def make_key(database: Database, tenant: str, *scopes: str, **seconds: float) -> dict[str, str]:
    expiry = Expiry(seconds["expires_in"], is_relative=True) if seconds else None
    with database.write() as session:
        return bearer(keys.create(session, tenant, "test", scopes=scopes, expiry=expiry))


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def id_of(headers: dict[str, str]) -> str:
    return headers["Authorization"].split("_")[1]


def move_expiry(database: Database, key_id: str, seconds: float) -> None:
    """Move the expiry of a key by some seconds, by the database's clock."""
    with database.write() as session:
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(expires_at=now() + seconds))


def actions(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as session:
        return [(entry.actor, entry.action, entry.subject) for entry, _ in audit.newest_entries(session, 99)][::-1]


@pytest.mark.parametrize("header", [None, "Bearer nonsense", "Bearer lmn_a_b_c", "Basic abc", "Bearer "])
def test_a_request_without_a_valid_key_is_refused(protected_app: App, header: str | None):
    headers = {"Authorization": header} if header else {}
    answer = protected_app.test_client().get("/api/v1/jobs", headers=headers)
    assert (answer.status_code, answer.json["code"]) == (401, "unauthorized")


def test_a_tenant_sees_only_its_own_jobs_and_pictures(protected_app: App, database: Database):
    client = protected_app.test_client()
    ours, theirs = make_key(database, "ours"), make_key(database, "theirs")
    job = client.post("/api/v1/jobs", json={"prompt": "x"}, headers=ours).json
    finish(protected_app, start(protected_app, job["id"]), png("red"))
    url = client.get(job["links"]["self"], headers=ours).json["images"][0]["url"]
    assert client.get(url, headers=ours).status_code == 200
    for path in (job["links"]["self"], url):
        assert client.get(path, headers=theirs).status_code == 404
    assert client.post(job["links"]["cancel"], headers=theirs).status_code == 404
    assert client.get("/api/v1/jobs", headers=theirs).json["items"] == []


def test_a_wrong_key_is_refused_even_if_no_key_is_required(client: ApiClient):
    assert client.get("/api/v1/jobs", headers={"Authorization": "Bearer lmn_wrong"}).status_code == 401


def test_keys_are_required_on_all_addresses_except_loopback(settings: Settings):
    assert not settings.keys_required
    assert settings.model_copy(update={"host": "0.0.0.0"}).keys_required  # noqa: S104
    assert not settings.model_copy(update={"host": "::1"}).keys_required


def test_a_service_without_keys_accepts_loopback_host_names_only(client: ApiClient):
    answer = client.get("/api/v1/jobs", headers={"Host": "evil.example:8700"})
    assert (answer.status_code, answer.json["code"]) == (403, "forbidden")


def test_a_revoked_key_is_refused_and_its_secret_is_not_stored(database: Database):
    with database.write() as session:
        key = keys.create(session, "ours", "laptop")
        [(row, tenant)] = keys.list_keys(session)
        assert (tenant, row.label) == ("ours", "laptop")
        assert key.split("_")[2] not in str(vars(row))
        assert keys.authenticate(session, key).tenant_id == row.tenant_id
        keys.revoke(session, row.id)
        with pytest.raises(Unauthorized):
            keys.authenticate(session, key)
        with pytest.raises(NotFound):
            keys.revoke(session, row.id)


# --- scopes ---


@pytest.mark.parametrize(
    ("scopes", "allowed"),
    [
        ((), {"read", "submit"}),
        (("read",), {"read"}),
        (("submit",), {"submit"}),
        (("admin",), {"read", "submit", "admin"}),
    ],
)
def test_a_key_can_do_what_its_scopes_allow(protected_app: App, database: Database, scopes: Any, allowed: Any):
    client, headers = protected_app.test_client(), make_key(database, "ours", *scopes)
    answers = {
        "read": [client.get(path, headers=headers) for path in ("/api/v1/jobs", "/api/v1/models")],
        "submit": [client.post("/api/v1/jobs", json={"prompt": "x"}, headers=headers)],
        "admin": [client.get(path, headers=headers) for path in (KEYS, AUDIT)],
    }
    for scope, found in answers.items():
        for answer in found:
            assert answer.is_json
            if scope in allowed:
                assert answer.status_code in (200, 202)
            else:
                assert (answer.status_code, answer.json["code"]) == (403, f"{scope}_scope_required")
                assert answer.json["scope"] == scope


def test_the_openai_routes_check_scopes_too(protected_app: App, database: Database):
    client, headers = protected_app.test_client(), make_key(database, "ours", "read")
    body = {"messages": [{"role": "user", "content": "a red apple"}]}
    refused = client.post("/v1/chat/completions", json=body, headers=headers)
    assert (refused.status_code, refused.json["error"]["code"]) == (403, "submit_scope_required")
    assert client.get("/v1/models", headers=headers).status_code == 200


@both_databases
def test_a_key_of_the_previous_version_can_read_and_submit(protected_app: App, database: Database):
    headers = make_key(database, "ours")
    row = "INSERT INTO api_keys (id, tenant_id, label, digest, created_at) SELECT 'old', tenant_id, '', digest, 0 FROM"
    with database.write() as session:
        session.execute(text(f"{row} api_keys"))
        found = session.get_one(ApiKey, "old")
        assert (found.scopes, found.expires_at, found.expiry_recorded) == ("read submit", None, False)
        session.execute(update(ApiKey).where(ApiKey.id == id_of(headers)).values(scopes="read later-scope"))
    assert protected_app.test_client().get("/api/v1/jobs", headers=headers).status_code == 200


def test_an_unknown_scope_is_refused_and_creates_nothing(database: Database):
    with database.write() as session, pytest.raises(InvalidRequest, match="root"):
        keys.create(session, "ours", "", scopes=["read", "root"])
    with database.read() as session:
        assert keys.list_keys(session) == []


# --- expiry and last use ---


@both_databases
def test_an_expired_key_is_refused_and_its_expiry_is_recorded_once(protected_app: App, database: Database):
    client, headers = protected_app.test_client(), make_key(database, "ours", expires_in=60)
    assert client.get("/api/v1/jobs", headers=headers).status_code == 200
    with database.write() as session:
        assert keys.record_expired(session, 9) == 0
    move_expiry(database, id_of(headers), -1)
    assert client.get("/api/v1/jobs", headers=headers).json["code"] == "unauthorized"
    for expected in (1, 0):
        with database.write() as session:
            assert keys.record_expired(session, 9) == expected
    assert actions(database)[-1] == ("system", "key_expired", id_of(headers))


@pytest.mark.parametrize("seconds", [0, -5, float("nan"), float("inf"), 1e12])
def test_an_expiry_that_is_not_in_the_near_future_is_refused(database: Database, seconds: Any):
    with database.write() as session:
        for is_relative in (True, False):
            with pytest.raises(InvalidRequest, match="future"):
                keys.create(session, "ours", "", expiry=Expiry(seconds, is_relative))


@both_databases
def test_the_last_use_is_written_at_most_once_a_minute(protected_app: App, database: Database):
    client, headers = protected_app.test_client(), make_key(database, "ours")

    def last_used() -> float | None:
        with database.read() as session:
            return session.scalar(select(ApiKey.last_used_at).where(ApiKey.id == id_of(headers)))

    assert last_used() is None
    client.get("/api/v1/jobs", headers=headers)
    first = eventually(last_used)
    client.get("/api/v1/jobs", headers=headers)
    with database.write() as session:
        keys.note_use(session, [id_of(headers)])
        assert not keys.authenticate(session, headers["Authorization"].split()[1]).is_use_due
    assert last_used() == first
    with database.write() as session:
        session.execute(update(ApiKey).values(last_used_at=first - 61))
        keys.note_use(session, [id_of(headers)])
    assert last_used() >= first


def test_a_request_succeeds_if_its_use_cannot_be_written(
    protected_app: App, database: Database, monkeypatch: pytest.MonkeyPatch
):
    tried: list[Any] = []

    def fail(_session: Any, key_ids: Any):
        tried.append(key_ids)
        raise OperationalError("UPDATE", {}, Exception("the disk is full"))

    monkeypatch.setattr(keys, "note_use", fail)
    client, headers = protected_app.test_client(), make_key(database, "ours")
    for _ in range(3):
        assert client.get("/api/v1/jobs", headers=headers).status_code == 200
    eventually(lambda: tried)
    assert tried == [[id_of(headers)]], "it was tried again within a minute"
