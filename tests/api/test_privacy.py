"""A tenant sees what is kept of its data; the operator changes it for the own tenant, and the audit log says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from limner_shared.db.engine import Database
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases
from tests.api.test_keys import make_key

URL = "/api/v1/privacy"
KEPT = {"keep_images_days": None, "keep_prompts_days": None, "keep_jobs_days": None, "share_results": False}
CHANGEABLE = {"changeable": True}


@both_databases
def test_what_is_changed_is_in_the_audit_log(client: ApiClient):
    assert client.get(URL).json == KEPT | CHANGEABLE
    month = KEPT | {"keep_images_days": 30.0, "share_results": True}
    assert client.put(URL, json=month).json == month | CHANGEABLE
    assert client.put(URL, json=client.get(URL).json).json == client.get(URL).json == month | CHANGEABLE
    assert client.put(URL, json=KEPT).json == KEPT | CHANGEABLE
    entries = client.get("/api/v1/audit").json["items"]
    assert [each["action"] for each in entries] == ["tenant_changed"] * 2
    assert entries[-1]["detail"]["after"] == {"keep_images_days": 30.0, "share_results": True}


@pytest.mark.parametrize(
    "wrong", [*({"keep_images_days": each} for each in (0, -1, 1e9, "7", True)), {"share_results": None}]
)
def test_days_are_a_positive_number_and_all_settings_are_named(client: ApiClient, wrong: Any):
    assert client.put(URL, json=KEPT | wrong).status_code == 422
    assert client.put(URL, json={"keep_images_days": 1}).status_code == 422
    assert client.get(URL).json == KEPT | CHANGEABLE


def test_a_tenant_sees_its_settings_and_cannot_change_them(make_app: Callable[..., App], database: Database):
    client = make_app(require_keys=True).test_client()
    reader, admin = make_key(database, "acme", "read"), make_key(database, "acme", "admin")
    assert client.get(URL, headers=reader).json == KEPT | {"changeable": False}
    refused = client.put(URL, json=KEPT, headers=admin)
    assert (refused.status_code, refused.json["code"]) == (403, "operator_required")
    operator = make_key(database, "local", "admin")
    assert client.put(URL, json=KEPT | {"keep_images_days": 1}, headers=operator).status_code == 200
    assert (
        client.put(URL, json={}, headers=make_key(database, "local", "submit")).json["code"] == "admin_scope_required"
    )
    assert client.get(URL, headers=admin).json == KEPT | {"changeable": False}
    kept = [client.get(URL, headers=key).json["changeable"] for key in (operator, make_key(database, "local", "read"))]
    assert kept == [True, False]
