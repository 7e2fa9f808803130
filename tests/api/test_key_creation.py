"""Keys that a key makes for its own tenant."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from limner_client.cli import own_keys
from limner_client.client import Client
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import ApiKey
from limner_shared.domain.access import Expiry, Scope
from limner_shared.errors import NotFound, Unauthorized
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases
from tests.api.test_keys import AUDIT, KEYS, actions, bearer, id_of, make_key, move_expiry
from tests.cli_services import run

WISH = {"label": "web shop", "scopes": ["read", "submit"]}


@pytest.fixture
def protected_app(make_app: Callable[..., App]):
    """The application with required API keys."""
    return make_app(require_keys=True)


def later(**time: float) -> str:
    return (datetime.now(UTC) + timedelta(**time)).isoformat()


@both_databases
def test_an_admin_key_makes_a_key_of_its_tenant_which_is_listed_recorded_and_works(
    protected_app: App, database: Database
):
    client, maker = protected_app.test_client(), make_key(database, "ours", "admin")
    end = later(days=30)
    answer = client.post(KEYS, json=WISH | {"label": "  web shop ", "expires_at": end}, headers=maker)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    made = answer.json
    assert (made["label"], made["scopes"]) == ("web shop", ["read", "submit"])
    assert datetime.fromisoformat(made["expires_at"]) == datetime.fromisoformat(end)
    new = bearer(made["key"])
    assert client.post("/api/v1/jobs", json={"prompt": "x"}, headers=new).status_code == 202
    assert client.get(KEYS, headers=new).json["code"] == "admin_scope_required"
    [listed, _] = client.get(KEYS, headers=maker).json["items"]
    assert (listed["id"], listed["label"], "key" in listed) == (made["id"], "web shop", False)
    assert actions(database)[1:] == [(id_of(maker), "key_created", made["id"])]
    [entry, _] = client.get(AUDIT, headers=maker).json["items"]
    assert made["key"].split("_")[2] not in str(entry)


@pytest.mark.parametrize("label", ["a\x1b[2Jb", "a\nb", "a\u202eb", " "])
def test_a_label_that_an_operators_terminal_would_obey_is_refused(protected_app: App, database: Database, label: str):
    maker = make_key(database, "ours", "admin")
    answer = protected_app.test_client().post(KEYS, json=WISH | {"label": label}, headers=maker)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_request")


@pytest.mark.parametrize("scopes", [(), ("read",), ("submit",), ("read", "submit")])
def test_a_key_without_the_scope_admin_makes_none(protected_app: App, database: Database, scopes: Any):
    headers = make_key(database, "ours", *scopes)
    refused = protected_app.test_client().post(KEYS, json=WISH, headers=headers)
    assert (refused.status_code, refused.json["code"]) == (403, "admin_scope_required")
    assert len(actions(database)) == 1


def test_the_ledger_itself_refuses_a_maker_without_the_scope_admin(database: Database):
    """A page that forgot to ask for the scope would still make no key."""
    maker = id_of(make_key(database, "ours", "submit"))
    with database.write() as session, pytest.raises(Exception, match="admin"):
        keys.create_by_key(session, maker, "x", frozenset({Scope.READ}))


def test_a_service_without_keys_makes_none_over_http(client: ApiClient, database: Database):
    """What a page of a service without keys makes would stay valid once keys are required."""
    assert client.post(KEYS, json=WISH).status_code == 401
    assert actions(database) == []


@both_databases
def test_a_key_cannot_make_one_that_outlives_it(protected_app: App, database: Database):
    client, maker = protected_app.test_client(), make_key(database, "ours", "admin", expires_in=3_600)
    refused = client.post(KEYS, json=WISH | {"expires_at": later(hours=2)}, headers=maker)
    assert (refused.status_code, refused.json["field"]) == (422, "expires_at")
    by_default = client.post(KEYS, json=WISH, headers=maker).json
    shorter = client.post(KEYS, json=WISH | {"expires_at": later(minutes=5)}, headers=maker).json
    [_, _, own] = client.get(KEYS, headers=maker).json["items"]
    assert by_default["expires_at"] == own["expires_at"] > shorter["expires_at"]


@pytest.mark.parametrize("end", [{"days": -1}, {"days": 3_661}])
def test_an_expiry_in_the_past_or_too_far_away_is_refused(protected_app: App, database: Database, end: Any):
    headers = make_key(database, "ours", "admin")
    refused = protected_app.test_client().post(KEYS, json=WISH | {"expires_at": later(**end)}, headers=headers)
    assert (refused.status_code, refused.json["field"]) == (422, "expires_at")


@pytest.mark.parametrize(
    "change",
    [
        {"label": ""},
        {"label": "   "},
        {"label": "x" * 101},
        {"label": None},
        {"label": "oidc:boss@example.org"},
        {"scopes": []},
        {"scopes": ["root"]},
        {"scopes": ["read", "submit", "admin", "read"]},
        {"scopes": "read"},
        {"expires_at": "tomorrow"},
        {"expires_at": 1_800_000_000},
        {"tenant": "theirs"},
    ],
)
def test_an_invalid_request_makes_no_key(protected_app: App, database: Database, change: Any):
    headers = make_key(database, "ours", "admin")
    assert protected_app.test_client().post(KEYS, json=WISH | change, headers=headers).status_code == 422
    assert len(actions(database)) == 1


def test_the_number_of_valid_keys_is_limited(protected_app: App, database: Database, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(keys, "MAX_KEYS", 2)
    client, maker = protected_app.test_client(), make_key(database, "ours", "admin")
    make_key(database, "theirs")
    made = client.post(KEYS, json=WISH, headers=maker).json
    assert client.post(KEYS, json=WISH, headers=maker).status_code == 422
    assert client.delete(f"{KEYS}/{made['id']}", headers=maker).status_code == 204
    assert client.post(KEYS, json=WISH, headers=maker).status_code == 201


def test_the_number_of_replaced_keys_that_are_still_valid_is_limited(
    protected_app: App, database: Database, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(keys, "MAX_KEYS", 2)
    client, key = protected_app.test_client(), make_key(database, "ours", "admin")
    for _ in range(3):
        key = bearer(client.post(f"{KEYS}/rotate", json={"overlap_seconds": 60}, headers=key).json["key"])
    refused = client.post(f"{KEYS}/rotate", json={"overlap_seconds": 60}, headers=key)
    assert (refused.status_code, "At most 4 valid keys" in refused.json["detail"]) == (422, True)


@both_databases
def test_a_repeated_request_gives_the_same_key_another_secret_until_it_is_used(protected_app: App, database: Database):
    client, maker = protected_app.test_client(), make_key(database, "ours", "admin")
    once = maker | {"Idempotency-Key": "a"}
    first, second = (client.post(KEYS, json=WISH, headers=once).json for _ in range(2))
    assert (first["id"], first["key"] == second["key"]) == (second["id"], False)
    assert client.get("/api/v1/jobs", headers=bearer(first["key"])).status_code == 401
    assert client.get("/api/v1/jobs", headers=bearer(second["key"])).status_code == 200
    with database.write() as session:
        session.execute(update(ApiKey).where(ApiKey.id == first["id"]).values(last_used_at=now()))
    third = client.post(KEYS, json=WISH, headers=once)
    assert (third.status_code, third.json["code"]) == (409, "invalid_state")
    assert client.get("/api/v1/jobs", headers=bearer(second["key"])).status_code == 200


def test_another_key_cannot_repeat_the_request_for_the_secret(protected_app: App, database: Database):
    client, maker = protected_app.test_client(), make_key(database, "ours", "admin")
    other, once = make_key(database, "ours", "admin", expires_in=60), {"Idempotency-Key": "a"}
    made = client.post(KEYS, json=WISH, headers=maker | once).json
    assert client.post(KEYS, json=WISH, headers=other | once).json["code"] == "idempotency_conflict"
    assert client.get("/api/v1/jobs", headers=bearer(made["key"])).status_code == 200


def test_an_expired_or_revoked_key_makes_none(protected_app: App, database: Database):
    client = protected_app.test_client()
    expired, revoked = (make_key(database, "ours", "admin", expires_in=60) for _ in range(2))
    move_expiry(database, id_of(expired), -1)
    with database.write() as session:
        keys.revoke(session, id_of(revoked))
    for headers in (expired, revoked):
        assert client.post(KEYS, json=WISH, headers=headers).status_code == 401
        with database.write() as session, pytest.raises(Exception, match="key"):
            keys.create_by_key(session, id_of(headers), "x", frozenset(), expiry=Expiry(60, is_relative=True))


def test_the_client_makes_lists_rotates_and_revokes_keys(protected_app: App, database: Database):
    key = make_key(database, "ours", "admin")["Authorization"].split()[1]
    transport = httpx.WSGITransport(protected_app)
    with Client("http://localhost", key, transport=transport) as client:
        made = client.keys.create("reports", [Scope.READ], datetime.now(UTC) + timedelta(days=1))
        assert [(each.label, each.current) for each in client.keys.list()] == [("reports", False), ("test", True)]
        with Client("http://localhost", made.key, transport=transport) as reader:
            assert reader.jobs().items == []
            rotated = reader.keys.rotate(0)
            with pytest.raises(Unauthorized):
                reader.jobs()
        client.keys.revoke(rotated.id)
        with pytest.raises(NotFound):
            client.keys.revoke(rotated.id)


def test_the_command_makes_lists_and_revokes_keys(
    protected_app: App, database: Database, monkeypatch: pytest.MonkeyPatch
):
    key = make_key(database, "ours", "admin")["Authorization"].split()[1]
    transport = httpx.WSGITransport(protected_app)

    def client_of(_server: str | None, _key: str | None) -> Client:
        return Client("http://localhost", key, transport=transport)

    monkeypatch.setattr(own_keys, "make_client", client_of)
    made = run("own-keys", "create", "reports", "--scope", "read", "--expires", "12h").output.split()[-1]
    listed = run("own-keys", "list", columns="200").output
    assert "reports" in listed
    assert made.split("_")[2] not in listed
    client = protected_app.test_client()
    assert client.post("/api/v1/jobs", json={"prompt": "x"}, headers=bearer(made)).status_code == 403
    assert "is revoked" in run("own-keys", "revoke", made.split("_")[1]).output
    assert client.get("/api/v1/jobs", headers=bearer(made)).status_code == 401
    rotated = run("own-keys", "rotate", "--overlap-seconds", "60").stdout.split()[-1]
    assert client.get("/api/v1/jobs", headers=bearer(rotated)).status_code == 200
