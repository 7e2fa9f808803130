"""Rotation, administration and the audit log of API keys."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from limner_shared.db.accounts import keys, tenants
from limner_shared.db.engine import Database
from limner_shared.db.tables import AuditEntry
from limner_shared.domain.access import Scope
from limner_shared.errors import InvalidState
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases
from tests.api.test_keys import AUDIT, KEYS, actions, bearer, id_of, make_key, move_expiry

ROTATE = "/api/v1/keys/rotate"


@pytest.fixture
def protected_app(make_app: Callable[..., App]):
    """The application with required API keys."""
    return make_app(require_keys=True)


# --- rotation ---


@both_databases
def test_a_rotated_key_works_until_the_overlap_ends_and_the_new_one_has_the_same_rights(
    protected_app: App, database: Database
):
    client, old = protected_app.test_client(), make_key(database, "ours", "read", expires_in=90_000)
    answer = client.post(ROTATE, json={"overlap_seconds": 60}, headers=old)
    assert (answer.status_code, answer.headers["Cache-Control"]) == (201, "no-store")
    new = bearer(answer.json["key"])
    assert (answer.json["replaces"], answer.json["scopes"]) == (id_of(old), ["read"])
    for headers in (old, new):
        assert client.get("/api/v1/jobs", headers=headers).status_code == 200
    assert client.post("/api/v1/jobs", json={"prompt": "x"}, headers=new).status_code == 403
    lasting = datetime.fromisoformat(answer.json["expires_at"]) - datetime.fromisoformat(answer.json["old_expires_at"])
    assert 80_000 < lasting.total_seconds() < 90_000
    move_expiry(database, id_of(old), -1)
    assert client.get("/api/v1/jobs", headers=old).status_code == 401
    assert client.get("/api/v1/jobs", headers=new).status_code == 200
    assert actions(database)[1:] == [(id_of(old), "key_rotated", id_of(old))]


def test_without_an_overlap_the_old_key_ends_at_once_and_a_short_expiry_is_not_extended(
    protected_app: App, database: Database
):
    client, first = protected_app.test_client(), make_key(database, "ours", expires_in=60)
    second = client.post(ROTATE, json={}, headers=first).json
    assert second["old_expires_at"] == second["expires_at"]
    third = client.post(ROTATE, json={"overlap_seconds": 0}, headers=bearer(second["key"]))
    assert third.status_code == 201
    assert client.get("/api/v1/jobs", headers=bearer(second["key"])).status_code == 401


@pytest.mark.parametrize("overlap", [-1, 2_592_001, 10**400, 1.5, "60", None, True, [], float("nan")])
def test_an_invalid_overlap_is_refused_and_changes_nothing(protected_app: App, database: Database, overlap: Any):
    client, headers = protected_app.test_client(), make_key(database, "ours")
    assert client.post(ROTATE, json={"overlap_seconds": overlap}, headers=headers).status_code in (400, 422)
    assert client.post(ROTATE, json={"overlap": 5}, headers=headers).status_code == 422
    assert len(actions(database)) == 1
    longest = client.post(ROTATE, json={"overlap_seconds": 2_592_000}, headers=headers)
    assert longest.status_code == 201


@both_databases
def test_of_two_rotations_at_once_one_succeeds(database: Database):
    key_id = id_of(make_key(database, "ours"))

    def rotate(_number: int) -> bool:
        try:
            with database.write() as session:
                keys.rotate(session, key_id)
        except InvalidState:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(rotate, range(4))) == [False, False, False, True]
    with database.read() as session:
        assert len(keys.list_keys(session)) == 2
    assert len(actions(database)) == 2


def test_a_key_is_rotated_once_and_only_with_a_key(protected_app: App, client: ApiClient, database: Database):
    protected, headers = protected_app.test_client(), make_key(database, "ours")
    assert protected.post(ROTATE, json={}, headers=headers).status_code == 201
    again = protected.post(ROTATE, json={}, headers=headers)
    assert (again.status_code, again.json["code"]) == (409, "invalid_state")
    assert client.post(ROTATE, json={}).status_code == 401


# --- administration ---


@both_databases
def test_an_admin_key_lists_and_revokes_the_keys_of_its_own_tenant(protected_app: App, database: Database):
    client, admin = protected_app.test_client(), make_key(database, "ours", "admin")
    ours, theirs = [make_key(database, "ours") for _ in range(3)], make_key(database, "theirs")
    found: list[dict[str, Any]] = []
    cursor = ""
    while cursor is not None:
        page = client.get(f"{KEYS}?limit=3{cursor and f'&cursor={cursor}'}", headers=admin).json
        found, cursor = found + page["items"], page["next"]
    assert {item["id"] for item in found} == {id_of(headers) for headers in (admin, *ours)}
    assert not any(headers["Authorization"].split("_")[2] in str(found) for headers in (admin, *ours))
    assert client.delete(f"{KEYS}/{id_of(theirs)}", headers=admin).status_code == 404
    assert client.get("/api/v1/jobs", headers=theirs).status_code == 200
    assert client.delete(f"{KEYS}/{id_of(ours[0])}", headers=admin).status_code == 204
    assert client.get("/api/v1/jobs", headers=ours[0]).status_code == 401
    assert client.delete(f"{KEYS}/{id_of(ours[0])}", headers=admin).status_code == 404


@both_databases
def test_the_audit_log_shows_a_tenant_its_own_changes_without_secrets(protected_app: App, database: Database):
    client, admin = protected_app.test_client(), make_key(database, "ours", "admin")
    key, other = make_key(database, "ours"), make_key(database, "theirs")
    with database.write() as session:
        tenants.change_tenant(session, "ours", {"max_queued": 5, "weight": 1.0})
        tenants.change_tenant(session, "ours", {"max_queued": 5})  # changes nothing
    new = client.post(ROTATE, json={}, headers=key).json
    client.delete(f"{KEYS}/{id_of(key)}", headers=admin)
    first = client.get(f"{AUDIT}?limit=2", headers=admin).json
    rest = client.get(f"{AUDIT}?limit=99&cursor={first['next']}", headers=admin).json
    entries = [*first["items"], *rest["items"]]
    assert rest["next"] is None
    assert [(entry["actor"], entry["action"]) for entry in entries] == [
        (id_of(admin), "key_revoked"),
        (id_of(key), "key_rotated"),
        ("operator", "tenant_changed"),
        ("operator", "key_created"),
        ("operator", "key_created"),
    ]
    assert entries[1]["detail"]["replaced_by"] == new["id"]
    assert entries[2]["detail"] == {"before": {"max_queued": None}, "after": {"max_queued": 5}}
    for secret in (new["key"], *(headers["Authorization"] for headers in (admin, key, other))):
        assert secret.split("_")[2] not in str(entries)
    assert id_of(other) not in str(entries)


@pytest.mark.parametrize("path", [f"{AUDIT}?cursor=x", f"{AUDIT}?cursor=-1", f"{KEYS}?cursor=job_1", f"{KEYS}?limit=0"])
def test_an_invalid_page_is_refused(client: ApiClient, path: str):
    assert client.get(path).status_code == 422


@both_databases
@pytest.mark.parametrize("change", ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log"])
def test_the_database_refuses_to_change_the_audit_log(database: Database, change: str):
    make_key(database, "ours")
    with pytest.raises(DBAPIError, match="append-only"), database.write() as session:
        session.execute(text(change))
    assert len(actions(database)) == 1


def test_a_change_that_is_rolled_back_leaves_no_entry(database: Database):
    with database.write() as session:
        keys.create(session, "ours", "")
        session.rollback()
    with database.read() as session:
        assert session.scalars(select(AuditEntry)).all() == []


def test_a_request_without_a_key_has_every_scope_of_an_open_service(client: ApiClient):
    assert client.get(KEYS).json == {"items": [], "next": None}
    assert client.delete(f"{KEYS}/{'0' * 12}").status_code == 404
    assert set(Scope) == {"read", "submit", "admin"}
