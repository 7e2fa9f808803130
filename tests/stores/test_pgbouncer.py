"""PostgreSQL through PgBouncer in transaction mode."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from limner_client.operations import support_bundle
from limner_shared.db.engine import Database
from limner_shared.db.notifications import WaitingListener, notify_waiting
from limner_shared.db.schema import require_current, upgrade
from limner_shared.errors import ConfigurationError
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from tests.chaos import oracle
from tests.chaos.traffic import Traffic
from tests.processes import Service, environment, eventually
from tests.stores.postgresql import PgBouncer, Postgres

pytestmark = pytest.mark.long

SETTINGS = ("lock_timeout", "idle_in_transaction_session_timeout", "statement_timeout", "random_page_cost")


@pytest.fixture
def migrated(plain_postgres: Postgres) -> str:
    upgrade(plain_postgres.url)
    return plain_postgres.url


def shown(session: Any) -> list[str]:
    return [session.scalar(text(f"SHOW {name}")) for name in SETTINGS]


def test_everything_works_through_a_pooler_with_fewer_sessions_than_connections(
    make_pooler: Callable[..., PgBouncer], migrated: str, start_service: Callable[..., Service]
):
    pooler = make_pooler(size=3)
    service = start_service(database_url=pooler.url, database_direct_url=migrated)
    service.start_web()
    service.start("dispatcher")
    service.start_workers(1, "--model", "null")
    traffic = Traffic(f"http://127.0.0.1:{service.settings.port}", "pooled")
    traffic.run()
    service.wait(sorted(traffic.accepted), 90)
    assert traffic.failures == []
    assert len(traffic.accepted) == 200
    assert oracle.violations(service.database, service.settings, traffic.accepted) == [], service.logs()
    assert "prepared statement" not in service.logs()


def test_each_transaction_has_the_settings_and_leaves_none_behind(make_pooler: Callable[..., PgBouncer], migrated: str):
    pooler = make_pooler(size=1)
    database = Database(pooler.url, migrated)
    for transaction in (database.read, database.write, database.write):
        with transaction() as session:
            assert shown(session) == ["4s", "6s", "30s", "1.1"]
            backend = session.scalar(text("SELECT pg_backend_pid()"))
    database.dispose()
    other = create_engine(pooler.url.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool)
    with other.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) == backend
        assert shown(connection) == ["0", "0", "0", "4"]


def test_a_failed_transaction_is_rolled_back_and_its_connection_goes_on(
    make_pooler: Callable[..., PgBouncer], migrated: str
):
    database = Database(make_pooler(size=1).url, migrated)
    with pytest.raises(DBAPIError, match="division by zero"), database.write() as session:
        session.execute(text("CREATE TABLE left_over AS SELECT 1 / 0 AS id"))
    with database.read() as session:
        assert session.scalar(text("SELECT to_regclass('left_over')")) is None
    database.dispose()


def test_statements_repeat_in_many_sessions(make_pooler: Callable[..., PgBouncer], migrated: str):
    database = Database(make_pooler(size=2).url, migrated)

    def read(_number: int) -> int:
        with database.read() as session:
            return sum(session.scalar(text("SELECT CAST(:one AS int)"), {"one": 1}) for _ in range(20))

    with ThreadPoolExecutor(5) as threads:
        assert list(threads.map(read, range(40))) == [20] * 40
    database.dispose()


def test_a_notification_sent_through_the_pooler_is_heard_directly(make_pooler: Callable[..., PgBouncer], migrated: str):
    database = Database(make_pooler().url, migrated)
    woken: list[int] = []
    listener = WaitingListener(database, Supervisor(), lambda: woken.append(1))
    listener.start()
    eventually(lambda: woken)  # by the connection
    with database.write() as session:
        notify_waiting(session)
    eventually(lambda: len(woken) == 2)
    listener.stop()
    database.dispose()


def test_a_migration_uses_the_direct_url(make_pooler: Callable[..., PgBouncer], plain_postgres: Postgres):
    plain_postgres.execute("DROP SCHEMA public CASCADE")
    plain_postgres.execute("CREATE SCHEMA public")
    settings = Settings(database_url=make_pooler().url, database_direct_url=plain_postgres.url)
    command = [sys.executable, "-m", "limner_client.cli.main", "db", "upgrade"]
    done = subprocess.run(command, env=environment(settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    require_current(settings.database_url, settings.database_direct_url)


def test_a_support_bundle_has_what_the_database_behind_a_pooler_says(
    make_pooler: Callable[..., PgBouncer], migrated: str, tmp_path: Path
):
    settings = Settings(database_url=make_pooler(size=1).url, database_direct_url=migrated, data_dir=tmp_path)
    missing = support_bundle.write(settings, tmp_path / "bundle.zip", "http://127.0.0.1:1", [])
    assert not missing.keys() & {"database", "schema.json", "vacuum.json", "queues.json"}


@pytest.mark.parametrize("config", [(), ("ignore_startup_parameters = options",)], ids=["refused", "dropped"])
def test_a_pooler_without_a_direct_url_is_refused_with_what_to_set(
    make_pooler: Callable[..., PgBouncer], migrated: str, config: tuple[str, ...]
):
    url = make_pooler(*config).url
    with pytest.raises(ConfigurationError, match="LIMNER_DATABASE_URL leads to a connection pooler: set LIMNER_DATAB"):
        require_current(url)
    with pytest.raises(ConfigurationError, match="LIMNER_DATABASE_URL leads to a connection pooler"):
        upgrade(url)
    with pytest.raises(ConfigurationError, match="LIMNER_DATABASE_DIRECT_URL leads to a connection pooler"):
        require_current(url, url)
    require_current(url, migrated)
