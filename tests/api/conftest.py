"""The web application on a database of its own, asked through Flask's test client."""

from __future__ import annotations

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient

from limner_shared.database import Database
from limner_shared.settings import Settings
from limner_web.app import create_app


@pytest.fixture
def app(settings: Settings, database_url: str, database: Database) -> APIFlask:
    """The application; the database is migrated and holds the local tenant."""
    return create_app(settings.model_copy(update={"database_url": database_url}))


@pytest.fixture
def client(app: APIFlask) -> FlaskClient:
    """Asks the application over its whole HTTP stack."""
    return app.test_client()
