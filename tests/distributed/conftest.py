"""Fixtures for tests with real processes, with each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from limner_shared.db.engine import Database
from limner_shared.settings import Settings
from tests.processes import Service


@pytest.fixture
def service(tmp_path: Path, redis_url: str, database_url: str, database: Database) -> Iterator[Service]:
    """A service without processes: a test starts those it needs."""
    settings = Settings(data_dir=tmp_path / "data", redis_url=redis_url, database_url=database_url)
    built = Service(settings, database, tmp_path)
    yield built
    built.stop()
