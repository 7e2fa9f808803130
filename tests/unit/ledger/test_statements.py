"""Every statement of every process uses an index: none scans a table that grows with the number of jobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench.exercise import exercise
from bench.statements import fill, recorded, scans
from bench.tour_doors import LEFT_OUT
from tests.models import CANVAS

from limner_dispatcher.dispatcher import Dispatcher
from limner_shared.db.engine import Database
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.hints import connect
from limner_shared.settings import Settings
from limner_web.app import create_app
from limner_web.http.route_rules import ROUTES

JOBS = 50_000


@pytest.fixture
def filled(database: Database, catalogue: Catalogue) -> Database:
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    fill(database, spec, JOBS)
    return database


@pytest.mark.timeout(600)
@pytest.mark.parametrize("database_url", ["sqlite", pytest.param("postgresql", marks=pytest.mark.long)], indirect=True)
def test_every_statement_uses_an_index(filled: Database, database_url: str, settings: Settings, tmp_path: Path):
    changes = {"database_url": database_url, "data_dir": tmp_path / "data", "models": (CANVAS,)}
    settings = settings.model_copy(update=changes)
    app, catalogue = create_app(settings), Catalogue.load(settings.models, settings.default_model)
    redis, celery = connect(settings.redis_url), make_celery(settings)
    with recorded(filled) as statements:
        visited = exercise(app, Dispatcher(settings, catalogue, filled, redis, celery))
    app.extensions["limner"].database.dispose()
    celery.close()
    redis.close()
    assert ROUTES.keys() - visited == LEFT_OUT.keys(), "a route is missing in bench/tour.py or bench/tour_doors.py"
    assert len(statements) > 300
    found = scans(filled, statements)
    if filled.engine.dialect.name == "sqlite":
        found += scans(filled, statements, without_statistics=True)
    assert not found, f"{len(found)} of {len(statements)}:\n\n" + "\n\n".join(found)
