"""TLS to PostgreSQL, with an authority of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from limner_client.operations.database_dump import load, snapshot
from limner_shared.db.engine import Database
from limner_shared.db.schema import require_current, upgrade
from limner_shared.errors import ConfigurationError
from tests.processes import Service
from tests.stores import programs
from tests.stores.certificates import Certificate, make_certificate
from tests.stores.postgresql import Postgres

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def certificate(server_folder: Path) -> Certificate:
    return make_certificate(server_folder / "certificates")


@pytest.fixture(scope="module")
def secure_postgres(server_folder: Path, certificate: Certificate) -> Iterator[Postgres]:
    """A migrated PostgreSQL that accepts nothing but TLS."""
    files = [f"ssl_cert_file = '{certificate.certificate}'", f"ssl_key_file = '{certificate.key}'"]
    server = Postgres(server_folder / "secure", programs.POSTGRESQL, "ssl = on", *files)
    programs.required(programs.POSTGRESQL / "postgres")
    server.create()
    hosts = server.data / "pg_hba.conf"
    hosts.write_text("hostssl all all 127.0.0.1/32 scram-sha-256\n")
    server.execute("SELECT pg_reload_conf()")
    upgrade(secured(server, certificate))
    yield server
    server.kill()


def secured(server: Postgres, certificate: Certificate, host: str = "127.0.0.1") -> str:
    url = server.url.replace("127.0.0.1", host)
    return f"{url}?sslmode=verify-full&sslrootcert={certificate.authority}"


def test_the_service_works_over_tls_with_the_servers_name_verified(
    secure_postgres: Postgres, certificate: Certificate, start_service: Callable[..., Service]
):
    service = start_service(database_url=secured(secure_postgres, certificate))
    service.start("dispatcher")
    service.start_workers(1, "--model", "null")
    ids = service.submit(10)
    assert {job.state for job in service.wait(ids)} == {"succeeded"}
    with service.database.read() as session:
        clear = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE NOT ssl AND client_port > 0"
        assert session.scalar(text(clear)) == 0


def test_a_server_without_the_expected_certificate_is_refused_with_the_reason(
    secure_postgres: Postgres, certificate: Certificate, tmp_path: Path
):
    other = make_certificate(tmp_path / "other")
    for url, reason in (
        (secured(secure_postgres, other), "certificate verify failed"),
        (secured(secure_postgres, certificate, "localhost"), "does not match host name"),
        (f"{secure_postgres.url}?sslmode=disable", "no encryption"),
    ):
        with pytest.raises(ConfigurationError, match=reason):
            require_current(url)


def test_a_dump_is_made_and_loaded_over_tls(
    secure_postgres: Postgres, certificate: Certificate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PATH", str(programs.POSTGRESQL), prepend=":")
    monkeypatch.setenv("LD_LIBRARY_PATH", programs.environment()["LD_LIBRARY_PATH"])
    url = secured(secure_postgres, certificate)
    with snapshot(url, tmp_path / "dump"):
        assert (tmp_path / "dump").stat().st_size > 0
    database = Database(url)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("CREATE DATABASE restored TEMPLATE template0"))
    database.dispose()
    restored = url.replace("/limner?", "/restored?")
    load(restored, tmp_path / "dump")
    require_current(restored)
