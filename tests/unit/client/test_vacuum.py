"""`limner db vacuum-report`: what it finds in real databases, and the advice that it gives."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import text
from sqlalchemy.orm import Session
from tests.processes import eventually

from limner_client.cli.main import cli
from limner_client.local.findings import State
from limner_client.operations import vacuum
from limner_shared.db.engine import Database

Found = dict[str, tuple[State, str, str]]
sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


def look(database: Database) -> Found:
    return {check.name: (check.state, check.found, check.advice) for check in vacuum.report(database)}


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    """A session whose statements are not in one transaction with those of the report."""
    with Session(database.engine) as opened:
        yield opened


def test_a_new_database_has_no_finding_and_the_command_says_so(
    database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = look(database)
    assert {state for state, _, _ in found.values()} == {State.OK}, found
    monkeypatch.setenv("LIMNER_DATABASE_URL", database_url)
    shown = CliRunner().invoke(cli, ["db", "vacuum-report"])
    assert shown.exit_code == 0, shown.output
    assert "MiB" in shown.output


@sqlite
def test_free_pages_and_a_long_log_of_sqlite_are_found(
    database: Database, database_url: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuum, "MUCH_BYTES", 100_000)
    session.execute(text("CREATE TABLE filler (data BLOB)"))
    session.execute(text("INSERT INTO filler VALUES (zeroblob(1000))"))
    for _ in range(12):
        session.execute(text("INSERT INTO filler SELECT * FROM filler"))
    session.commit()
    session.execute(text("DELETE FROM filler"))
    session.commit()
    found = look(database)
    assert (found["file"][0], "VACUUM" in found["file"][2]) == (State.WARN, True)
    assert found["write-ahead log"][0] is State.WARN
    assert Path(database_url.removeprefix("sqlite:///")).exists()


@sqlite
def test_statistics_of_sqlite_are_found_because_they_age(database: Database, session: Session) -> None:
    session.execute(text("ANALYZE"))
    session.commit()
    state, _, advice = look(database)["planner's statistics"]
    assert state is State.WARN
    session.execute(text(advice.partition(": ")[2].partition(";")[0]))
    session.commit()
    assert "planner's statistics" not in look(database)


@postgresql
def test_dead_rows_that_autovacuum_leaves_are_found_with_the_statement_that_helps(
    database: Database, database_url: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuum, "MANY_DEAD", 100)
    session.execute(text("CREATE TABLE filler (n int) WITH (autovacuum_enabled = false)"))
    session.execute(text("INSERT INTO filler SELECT generate_series(1, 5000)"))
    session.commit()
    older = database.engine.connect().execution_options(isolation_level="REPEATABLE READ")
    older.execute(text("SELECT 1"))  # as long as it sees the rows, autovacuum cannot remove them
    session.execute(text("DELETE FROM filler"))
    session.commit()
    session.execute(text("SELECT pg_stat_force_next_flush()"))
    session.commit()
    off = eventually(lambda: dead(look(database)))
    assert (off[0], "RESET (autovacuum_enabled)" in off[2]) == (State.FAIL, True)
    options = "autovacuum_enabled = true, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0"
    session.execute(text(f"ALTER TABLE filler SET ({options})"))
    session.commit()
    late = dead(look(database))
    older.close()
    assert late is not None
    assert late[0] is State.WARN
    assert "begin at 1,000 dead rows" in late[2]
    assert "VACUUM (ANALYZE) filler;" in late[2]


def dead(found: Found) -> tuple[State, str, str] | None:
    return found["table filler"] if "5,000 dead" in found["table filler"][1] else None


@postgresql
def test_an_old_transaction_is_named_without_its_statement(
    database: Database, database_url: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuum, "OLD_SECONDS", 0)
    pid = session.scalar(text("SELECT pg_backend_pid() /* a secret */"))
    # While the server makes the databases of later tests, their transactions are older ones at times.
    state, found, advice = eventually(lambda: old_transaction(look(database), pid))
    assert (state, str(pid) in advice) == (State.WARN, True)
    assert "a secret" not in found + advice


def old_transaction(found: Found, pid: int | None) -> tuple[State, str, str] | None:
    return found["old transaction"] if f"process {pid}" in found["old transaction"][1] else None


@postgresql
def test_space_that_rows_no_longer_need_is_estimated(
    database: Database, database_url: str, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vacuum, "MUCH_BYTES", 100_000)
    session.execute(text("CREATE TABLE filler (n int, t text)"))
    session.execute(text("INSERT INTO filler SELECT n, repeat('x', 500) FROM generate_series(1, 5000) n"))
    session.execute(text("DELETE FROM filler WHERE n < 4800"))
    session.commit()
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM (ANALYZE, TRUNCATE false) filler"))
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    state, found, advice = look(database)["table filler"]
    assert (state, "are unused" in found, "pg_repack" in advice) == (State.WARN, True, True), found
