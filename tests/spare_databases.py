"""Copies of a migrated PostgreSQL database. To make one takes longer than many a test, and the server does it alone."""

from __future__ import annotations

import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from typing import LiteralString

import psycopg
from psycopg import sql
from sqlalchemy import make_url


class SpareDatabases:
    """Makes the next copy, and deletes the one before, while a test runs."""

    def __init__(self, maintenance_url: str, template: str) -> None:
        self._url = make_url(maintenance_url)
        self._template = template
        self._connection = psycopg.connect(maintenance_url, autocommit=True)
        self._thread = ThreadPoolExecutor(1, "spare databases")
        self._next = self._thread.submit(self._create)
        self._deletion: Future[None] | None = None

    def take(self) -> str:
        """The URL of a copy."""
        name = self._next.result()
        self._next = self._thread.submit(self._create)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def give_back(self, url: str) -> None:
        """Delete a copy: a thousand of them would take long to delete with the server."""
        if self._deletion:
            self._deletion.result()
        statement = "DROP DATABASE {} WITH (FORCE)"
        self._deletion = self._thread.submit(self._execute, statement, make_url(url).database or "")

    def close(self) -> None:
        self._thread.shutdown()
        self._connection.close()

    def _create(self) -> str:
        name = f"limner_{secrets.token_hex(6)}"
        self._execute("CREATE DATABASE {} TEMPLATE {}", name, self._template)
        return name

    def _execute(self, statement: LiteralString, *names: str) -> None:
        self._connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
