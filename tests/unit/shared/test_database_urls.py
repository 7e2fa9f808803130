"""URLs of databases: several servers, poolers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from tests.conftest import create_database, drop_database

from limner_shared.db import ledger, schema
from limner_shared.db.engine import Database
from limner_shared.db.postgresql_engine import libpq_parameters, parse
from limner_shared.errors import ConfigurationError
from limner_shared.settings import Settings


@pytest.mark.parametrize(
    ("servers", "host", "port"),
    [
        ("a.example", "a.example", None),
        ("a.example:5433", "a.example", "5433"),
        ("a.example:5433,b.example:5434", "a.example,b.example", "5433,5434"),
        ("a.example,b.example", "a.example,b.example", ","),
        ("10.0.0.1:5432,[fd00::1]:5433", "10.0.0.1,fd00::1", "5432,5433"),
    ],
)
@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_several_servers_are_written_as_libpq_does(scheme: str, servers: str, host: str, port: str | None):
    url = parse(f"{scheme}://me:p%40ss%2Fw@{servers}/pictures?target_session_attrs=read-write&sslmode=verify-full")
    given = libpq_parameters(url)
    assert (given.pop("host"), given.pop("port", None)) == (host, port)
    assert given == {
        "user": "me",
        "password": "p@ss/w",
        "dbname": "pictures",
        "target_session_attrs": "read-write",
        "sslmode": "verify-full",
        "client_encoding": "utf8",
    }


def test_texts_are_utf_8_in_a_database_without_an_encoding(postgres: str):
    url = create_database(postgres, "template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    schema.upgrade(url)
    database = Database(url)
    with database.write() as session:
        ledger.ensure_tenant(session, "acme", "Café 猫")
    with database.read() as session:
        assert session.scalar(text("SELECT name FROM tenants WHERE id = 'acme'")) == "Café 猫"
    database.dispose()
    drop_database(postgres, url)


@pytest.mark.parametrize("url", ["postgresql://me:s3cret@host:port/name", "mysql://me:s3cret@host/name", "s3cret", ""])
def test_a_url_that_cannot_be_read_is_refused_without_showing_its_password(url: str):
    with pytest.raises(ConfigurationError, match="The database's URL cannot be read") as refused:
        parse(url)
    assert "s3cret" not in refused.value.message


def test_sqlite_has_no_direct_url(tmp_path: Path):
    settings = Settings(data_dir=tmp_path, database_direct_url="postgresql://host/name")
    with pytest.raises(ConfigurationError, match="DIRECT_URL is for PostgreSQL"):
        Database.of(settings)


def test_connections_to_a_server_that_became_read_only_are_given_up(postgres: str):
    url = create_database(postgres)
    database = Database(url)
    with database.write() as session:
        before = session.scalar(text("SELECT pg_backend_pid()"))
        session.execute(text("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"))
    with pytest.raises(DBAPIError, match="read-only"), database.write() as session:
        session.execute(text("CREATE TABLE refused (id int)"))
    with database.write() as session:
        assert session.scalar(text("SELECT pg_backend_pid()")) != before
        session.execute(text("CREATE TABLE accepted (id int)"))
    database.dispose()
    drop_database(postgres, url)
