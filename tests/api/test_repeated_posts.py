"""A repeated POST makes nothing twice and is answered the same, whatever its route."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import pytest

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from limner_web.app import create_app
from tests.api.clients import Answer, App
from tests.api.repeated_posts import MAKING, NOT_MAKING, World, working
from tests.conftest import copy_of_database
from tests.models import CANVAS

FIRST, RETRY = {"X-Stainless-Retry-Count": "0"}, {"X-Stainless-Retry-Count": "1"}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def world(request: pytest.FixtureRequest, valkey: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One service for all routes."""
    folder: Path = tmp_path_factory.mktemp("repeated")
    with copy_of_database(request, folder) as url:
        database = Database(url)
        with database.write() as session:
            ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")
        settings = Settings(
            data_dir=folder, redis_url=valkey, database_url=url, models=(CANVAS,), default_model="canvas"
        )
        apps = [cast(App, create_app(settings.model_copy(update={"require_keys": keys}))) for keys in (False, True)]
        made = World(apps[0], apps[1])
        with working(made):
            yield made
        for app in apps:
            app.extensions["limner"].key_usage.close()
            app.extensions["limner"].database.dispose()
        database.dispose()


def told(answer: Answer, member: str) -> tuple[int, Any]:
    assert answer.status_code < 300, answer.text
    return answer.status_code, answer.json[member] if answer.is_json else answer.headers[member]


@pytest.mark.parametrize("route", sorted(MAKING))
def test_a_repeated_post_makes_nothing_twice_and_is_answered_the_same(world: World, route: str):
    key, member, apart = {"Idempotency-Key": route}, MAKING[route].told, MAKING[route].apart
    send, before = MAKING[route].prepare(world), world.rows(apart)
    answer = told(send(key), member)
    made = world.rows(apart) - before
    assert made
    assert told(send(key), member) == answer
    assert world.rows(apart) - before == made
    send, before = MAKING[route].prepare(world), world.rows(apart)
    with ThreadPoolExecutor(2) as pool:
        first, retry = pool.map(send, (FIRST, RETRY))
    assert told(first, member) == told(retry, member)
    assert told(send(RETRY), member) == told(first, member)
    assert world.rows(apart) - before == made


def test_every_route_is_protected_or_said_to_need_no_protection(world: World):
    routes = {rule.rule for rule in world.app.url_map.iter_rules() if "POST" in (rule.methods or ())}
    assert routes == {*MAKING, *NOT_MAKING}
