"""Settings that a tenant keeps under a name follow it through every key and browser."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from limner_shared.db.engine import Database
from limner_shared.domain import presets as rules
from tests.api.clients import ApiClient, App
from tests.api.test_bulks import both_databases
from tests.api.test_keys import make_key

PRESETS = "/api/v1/presets"
SETTINGS = {"model": "limner-flow", "style": "3d", "width": 64, "height": 64, "n": 4, "guidance": 2.5}


def names(client: ApiClient, **options: Any) -> list[str]:
    return [each["name"] for each in client.get(PRESETS, **options).json["items"]]


@both_databases
def test_a_preset_is_saved_replaced_renamed_and_deleted(client: ApiClient):
    assert client.put(f"{PRESETS}/ four", json=SETTINGS).json["field"] == "preset"
    made = client.put(f"{PRESETS}/four", json=SETTINGS)
    assert (made.status_code, made.json["name"]) == (200, "four")
    assert {name: value for name, value in made.json["settings"].items() if value} == SETTINGS
    changed = client.put(f"{PRESETS}/four", json={"steps": 12, "adapters": [{"name": "ink", "weight": 0.5}]}).json
    assert (changed["settings"]["steps"], changed["settings"]["style"]) == (12, None)
    assert changed["updated_at"] >= made.json["updated_at"]
    client.put(f"{PRESETS}/Ölfarbe 🎨", json={})
    assert client.put(f"{PRESETS}/four/name", json={"name": "12 steps"}).json["settings"] == changed["settings"]
    assert names(client) == ["12 steps", "Ölfarbe 🎨"]
    for _ in range(2):
        assert client.delete(f"{PRESETS}/12 steps").status_code == 204
    assert names(client) == ["Ölfarbe 🎨"]


@both_databases
def test_a_preset_takes_no_name_of_another_and_none_that_does_not_exist_is_renamed(client: ApiClient):
    for name in ("one", "two"):
        client.put(f"{PRESETS}/{name}", json={"n": 2})
    taken = client.put(f"{PRESETS}/one/name", json={"name": "two"})
    assert (taken.status_code, taken.json["field"]) == (422, "name")
    assert client.put(f"{PRESETS}/one/name", json={"name": "one"}).status_code == 200
    assert client.put(f"{PRESETS}/three/name", json={"name": "four"}).status_code == 404
    assert names(client) == ["one", "two"]


@pytest.mark.parametrize("name", ["a/b", ".", "..", "/"])
def test_a_preset_has_no_name_by_which_it_could_not_be_deleted(client: ApiClient, name: str):
    client.put(f"{PRESETS}/one", json={"n": 2})
    assert client.put(f"{PRESETS}/one/name", json={"name": name}).status_code == 422
    assert names(client) == ["one"]


@pytest.mark.parametrize(
    "body",
    [{"prompt": "a cat"}, {"n": 0}, {"seed": -1}, {"guidance": "high"}, {"width": 2**70}, {"image": "data:,"}, []],
)
def test_settings_that_no_request_could_have_are_refused(client: ApiClient, body: Any):
    assert client.put(f"{PRESETS}/x", json=body).status_code in (400, 422)
    assert names(client) == []


def test_a_tenant_keeps_a_limited_number_and_may_still_change_them(client: ApiClient, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("limner_shared.db.presets.MAX_PRESETS", 3)
    assert rules.MAX_PRESETS == 100
    assert [client.put(f"{PRESETS}/{n}", json={}).status_code for n in range(5)] == [200, 200, 200, 422, 422]
    assert client.put(f"{PRESETS}/1", json={"n": 2}).status_code == 200
    assert names(client) == ["0", "1", "2"]


@both_databases
def test_presets_that_are_saved_at_once_under_one_name_are_one_preset(app: App):
    def save(n: int) -> int:
        return app.test_client().put(f"{PRESETS}/same", json={"n": n}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(save, range(1, 17))) == {200}
    [kept] = app.test_client().get(PRESETS).json["items"]
    assert 1 <= kept["settings"]["n"] <= 16


@both_databases
def test_a_preset_that_is_deleted_at_the_moment_at_which_it_is_saved_causes_no_error(app: App):
    def act(n: int) -> int:
        client = app.test_client()
        return (client.delete(f"{PRESETS}/same") if n % 2 else client.put(f"{PRESETS}/same", json={})).status_code

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(act, range(80))) == {200, 204}


@both_databases
def test_presets_that_are_saved_at_once_do_not_exceed_the_limit_together(app: App, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("limner_shared.db.presets.MAX_PRESETS", 10)

    def save(n: int) -> int:
        return app.test_client().put(f"{PRESETS}/{n}", json={}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(save, range(24))) == [200] * 10 + [422] * 14
    assert len(names(app.test_client())) == 10


def test_every_key_of_a_tenant_sees_its_presets_and_no_other_tenant_does(
    make_app: Callable[..., App], database: Database
):
    client = make_app(require_keys=True).test_client()
    ours, reader, theirs = (
        make_key(database, "ours", "read", "submit"),
        make_key(database, "ours", "read"),
        make_key(database, "theirs", "read", "submit"),
    )
    assert client.put(f"{PRESETS}/mine", json=SETTINGS, headers=ours).status_code == 200
    assert names(client, headers=reader) == ["mine"]
    assert client.delete(f"{PRESETS}/mine", headers=reader).status_code == 403
    assert names(client, headers=theirs) == []
    assert client.put(f"{PRESETS}/mine/name", json={"name": "stolen"}, headers=theirs).status_code == 404
    assert client.get(PRESETS).status_code == 401
