"""The web application on a database of its own, asked through Flask's test client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient

from limner_client.local.embedded_valkey import free_port
from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from limner_web.app import create_app
from tests.conftest import copy_database
from tests.processes import Service


@pytest.fixture(params=["sqlite"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """SQLite, unless a test asks for both: the ledger, which is what differs, has tests of its own."""
    return copy_database(request, tmp_path)


@pytest.fixture
def make_app(settings: Settings, database_url: str, database: Database) -> Iterator[Callable[..., APIFlask]]:
    """Makes applications on the test's database, each with settings of its own; closes them all at the end."""
    made: list[APIFlask] = []

    def make(**changes: object) -> APIFlask:
        made.append(create_app(settings.model_copy(update={"database_url": database_url} | changes)))
        return made[-1]

    yield make
    for app in made:
        app.extensions["limner"].database.dispose()


@pytest.fixture
def app(make_app: Callable[..., APIFlask]) -> APIFlask:
    """The application as it is on a laptop: open, on loopback."""
    return make_app()


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    """Asks the application over its whole HTTP stack."""
    return app.test_client()


@pytest.fixture
def server(settings: Settings, database_url: str, database: Database, tmp_path: Path) -> Iterator[Service]:
    """`limner serve`, a real process on a port of its own."""
    changes = {"database_url": database_url, "port": free_port(), "web_workers": 1}
    service = Service(settings.model_copy(update=changes), database, tmp_path)
    service.start_web()
    yield service
    service.stop()
