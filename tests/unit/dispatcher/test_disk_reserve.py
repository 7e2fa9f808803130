"""The space that is kept beside a SQLite database for cleaning a full disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from limner_dispatcher.disk_reserve import CHUNK_BYTES, DiskReserve
from limner_shared.db.engine import Database

SIZE = 2 * CHUNK_BYTES


class Full(Exception):
    """SQLite's error for a full disk."""

    sqlite_errorcode = 13


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the reserve of the database in `tmp_path` is kept."""
    return tmp_path / "limner.db.reserve"


@pytest.fixture
def reserve(tmp_path: Path) -> DiskReserve:
    """A reserve of two chunks."""
    return DiskReserve(Database(f"sqlite:///{tmp_path}/limner.db"), SIZE)


def test_a_reserve_that_a_crash_left_incomplete_is_completed(reserve: DiskReserve, file: Path):
    file.write_bytes(b"part")
    reserve.keep()
    assert file.stat().st_size == SIZE


def test_only_a_full_disk_releases_the_reserve(reserve: DiskReserve, file: Path):
    reserve.keep()
    assert not reserve.release_for(ValueError("damaged row"))
    assert file.exists()
    assert reserve.release_for(OperationalError("INSERT", {}, Full()))
    assert not file.exists()
    assert not reserve.release_for(OperationalError("INSERT", {}, Full()))


def test_a_reserve_that_cannot_be_written_stops_nothing(reserve: DiskReserve, file: Path):
    file.mkdir()
    reserve.keep()
    assert file.is_dir()
