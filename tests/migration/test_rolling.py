"""Rolling deploys: migrations run one at a time and resume after an interruption, and earlier programs keep working."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.migration import MigrationContext
from sqlalchemy import text
from tests import previous
from tests.conftest import create_database
from tests.ended_jobs import run_retention
from tests.processes import eventually

from limner_shared.db import ledger, migration_tools, queries, schema
from limner_shared.db.accounts import keys
from limner_shared.db.engine import Database
from limner_shared.db.schema import SERVES_FROM_TABLE, VERSION_TABLE
from limner_shared.domain.access import DEFAULT_SCOPES
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobState, Priority
from limner_shared.errors import ConfigurationError, ObjectLost, ServiceUnavailable
from limner_shared.storage.blobs import Blobs

OLD_PROGRAM = """
import sys
from limner_shared import ledger, queries
from limner_shared.cards import Catalogue
from limner_shared.database import Database, is_current, require_current
from limner_shared.jobs import JobRequest, Lane, Priority
from limner_shared.tables import Job

url, waiting = sys.argv[1:]
require_current(url)
database = Database(url)
assert is_current(database, url)
card, spec = Catalogue.load([], "limner-flow").resolve(JobRequest(prompt="a red apple", seed=1))
with database.write() as session:
    mine = ledger.submit(session, ledger.LOCAL_TENANT, [ledger.NewJob(spec, 1, Priority.NORMAL)]).changes[0].id
    assert ledger.lead(session, "dispatch", "old", 5)
    assert queries.in_window(session, "limner-flow") == {}
    assert [job.id for job in ledger.release(session, Lane.NORMAL, [waiting])] == [waiting]
    [claim] = ledger.claim(session, [waiting], "old", 60)
    image = ledger.NewImage("ab" * 32, "image/png", 1, 1, 1, 1, {})
    assert ledger.finish(session, [ledger.Result(claim.id, claim.attempt, [image])])
    assert ledger.reap(session, 2) == ledger.expire(session, 9) == ledger.sweep_bulks(session, 9) == []
    listed = queries.jobs(session, ledger.LOCAL_TENANT, queries.JobFilter(), 9, None)
    assert {job.id for job in listed} >= {mine, waiting}
    for forget in (ledger.forget_images, ledger.forget_prompts, ledger.forget_jobs):
        forget(session, 9)
print(mine)
"""
OLD_KEYS_PROGRAM = """
import sys
from limner_shared import keys, tenants
from limner_shared.database import Database

url, key = sys.argv[1:]
database = Database(url)
with database.write() as session:
    tenant_id = keys.authenticate(session, key)
    made, revoked = (keys.create(session, "ours", name) for name in ("made", "revoked"))
    assert keys.authenticate(session, made) == tenant_id
    keys.revoke(session, revoked.split("_")[1])
    tenants.change_tenant(session, "ours", {"max_queued": 5})
print(made)
"""

OLD_INPUT_PROGRAM = """
import sys
from limner_shared import ledger
from limner_shared.blobs import Blobs
from limner_shared.cards import Catalogue
from limner_shared.database import Database
from limner_shared.jobs import JobRequest, Priority

url, folder = sys.argv[1:]
digest = Blobs(folder).put_input(b"an input")
_, spec = Catalogue.load([], "limner-flow").resolve(JobRequest(prompt="a red apple", seed=1))
with Database(url).write() as session:
    new = ledger.NewJob(spec.model_copy(update={"image": digest}), 1, Priority.NORMAL)
    print(ledger.submit(session, ledger.LOCAL_TENANT, [new]).changes[0].id, digest)
"""


@pytest.fixture
def opened(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    yield database
    database.dispose()


@pytest.fixture
def postgres_url(postgres: str) -> str:
    return create_database(postgres)


def write(database: Database, *statements: str) -> None:
    with database.write() as session:
        for statement in statements:
            session.execute(text(statement))


def is_valid(database: Database, index: str) -> bool | None:
    with database.read() as session:
        query = text("SELECT indisvalid FROM pg_index JOIN pg_class ON oid = indexrelid WHERE relname = :name")
        return session.scalar(query, {"name": index})


def invalidate(database: Database, index: str) -> None:
    """Mark an index as invalid, as a cancelled concurrent build leaves it."""
    write(database, f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass")  # noqa: S608


# --- schemas that a program can serve ---


@pytest.mark.parametrize(
    ("revision", "serves_from", "served"),
    [("9999", "0008", True), ("9999", "0004", True), ("9999", "9998", False), ("0005", "0004", False)],
)
def test_a_program_serves_its_own_schema_and_later_compatible_ones(
    opened: Database, empty_database_url: str, revision: str, serves_from: str, served: bool
):
    schema.upgrade(empty_database_url)
    assert schema.is_current(opened, empty_database_url)
    write(opened, f"UPDATE {VERSION_TABLE} SET version_num = '{revision}'")  # noqa: S608
    write(opened, f"UPDATE {SERVES_FROM_TABLE} SET version_num = '{serves_from}'")  # noqa: S608
    assert schema.is_current(opened, empty_database_url) is served
    if served:
        schema.require_current(empty_database_url)
    else:
        advice = "install a newer version" if revision == "9999" else "limner db upgrade"
        with pytest.raises(ConfigurationError, match=advice):
            schema.require_current(empty_database_url)


def test_an_earlier_program_leaves_the_schema_of_a_later_one_as_it_is(opened: Database, empty_database_url: str):
    schema.upgrade(empty_database_url)
    write(opened, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")  # noqa: S608
    told: list[str] = []
    schema.upgrade(empty_database_url, tell=told.append)
    assert told == [schema.SERVED]
    write(opened, f"UPDATE {SERVES_FROM_TABLE} SET version_num = '9998'")  # noqa: S608
    with pytest.raises(ConfigurationError, match="install a newer version"):
        schema.upgrade(empty_database_url)
    with pytest.raises(ConfigurationError, match="downgrade it with that version"):
        schema.downgrade(empty_database_url, "base")
    assert schema.schema_revisions(opened) == ("9999", "9998")


def test_a_downgrade_restores_the_version_table_of_earlier_programs(opened: Database, empty_database_url: str):
    schema.upgrade(empty_database_url)
    opened.dispose()
    schema.downgrade(empty_database_url, "0003")
    with opened.engine.connect() as connection:
        assert MigrationContext.configure(connection).get_current_revision() == "0003"
        assert not connection.dialect.has_table(connection, VERSION_TABLE)
    schema.upgrade(empty_database_url)
    assert schema.is_current(opened, empty_database_url)


def test_the_previous_release_works_beside_this_one(opened: Database, empty_database_url: str, tmp_path: Path):
    schema.upgrade(empty_database_url)
    _, spec = Catalogue.load([], "limner-flow").resolve(JobRequest(prompt="a red apple", seed=1))
    with opened.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")
        new = ledger.NewJob(spec, 1, Priority.NORMAL)
        waiting = ledger.submit(session, ledger.LOCAL_TENANT, [new]).changes[0].id
    write(opened, "UPDATE tenants SET keep_images_days = 1, keep_prompts_days = 1, keep_jobs_days = 1")
    old_job_id = previous.run(previous.unpack(tmp_path), OLD_PROGRAM, empty_database_url, waiting).split()[-1]
    with opened.write() as session:
        assert queries.job(session, ledger.LOCAL_TENANT, waiting).state == JobState.SUCCEEDED
        [claim] = ledger.claim(session, [old_job_id], "new", 60)
        assert ledger.finish(session, [ledger.Result(old_job_id, claim.attempt)])


def test_inputs_of_jobs_of_the_earliest_release_are_kept_until_they_end(
    opened: Database, empty_database_url: str, tmp_path: Path
):
    schema.upgrade(empty_database_url)
    with opened.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")
    write(opened, "UPDATE tenants SET keep_images_days = 0")
    url = (tmp_path / "blobs").as_uri()
    environment, blobs = previous.unpack(tmp_path), Blobs(url)
    job_id, digest = previous.run(environment, OLD_INPUT_PROGRAM, empty_database_url, url).split()

    def clean() -> None:
        for file in (tmp_path / "blobs").rglob(digest):
            os.utime(file, (0, 0))
        run_retention(opened, blobs)

    clean()
    assert blobs.get_input(digest) == b"an input"
    with opened.write() as session:
        [claim] = ledger.claim(session, [job_id], "new", 60)
        assert ledger.finish(session, [ledger.Result(job_id, claim.attempt)])
    clean()
    with pytest.raises(ObjectLost):
        blobs.get_input(digest)


def test_keys_of_the_previous_release_and_of_this_one_are_valid_for_both(
    opened: Database, empty_database_url: str, tmp_path: Path
):
    schema.upgrade(empty_database_url)
    with opened.write() as session:
        key = keys.create(session, "ours", "new")
    made = previous.run(previous.unpack(tmp_path), OLD_KEYS_PROGRAM, empty_database_url, key).split()[-1]
    with opened.write() as session:
        assert keys.authenticate(session, made).scopes == DEFAULT_SCOPES
        assert keys.rotate(session, made.split("_")[1]).new.scopes == DEFAULT_SCOPES
        assert len(keys.list_keys(session)) == 4


# --- one upgrade at a time ---


def test_an_upgrade_waits_for_another_and_reports_it(opened: Database, empty_database_url: str):
    messages: list[str] = []
    opened.dispose()
    with ThreadPoolExecutor() as pool, closing(opened.engine.connect()) as connection:
        with migration_tools.alone(connection, messages.append):
            waiting = pool.submit(schema.upgrade, empty_database_url, "head", messages.append)
            assert eventually(lambda: messages) == ["Another process migrates this database; waiting for it."]
            assert not waiting.done()
            connection.invalidate()  # PostgreSQL's lock ends with its session
        waiting.result()
    assert schema.is_current(opened, empty_database_url)


@pytest.mark.long
def test_concurrent_upgrades_all_succeed(opened: Database, empty_database_url: str, tmp_path: Path):
    environment = os.environ | {"LIMNER_DATABASE_URL": empty_database_url, "LIMNER_DATA_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "limner_client.cli.main", "db", "upgrade"]
    started = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    ends = [(process.communicate()[1], process.returncode) for process in started]
    assert [code for _, code in ends] == [0, 0, 0], ends
    assert schema.is_current(opened, empty_database_url)


@pytest.mark.long
def test_a_migration_that_made_a_deadlock_with_the_service_is_tried_again(postgres_url: str):
    schema.upgrade(postgres_url, "0012")
    database = Database(postgres_url, limited=False)
    write(database, f"ALTER DATABASE {database.engine.url.database} SET deadlock_timeout = '2s'")
    database.dispose()
    messages: list[str] = []
    waiting = text("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'ALTER TABLE bulks%' AND wait_event_type = 'Lock'")

    def waits() -> bool:
        with database.read() as session:
            return session.scalar(waiting) is not None

    with ThreadPoolExecutor() as pool, database.engine.connect() as service:
        service.execute(text("SET deadlock_timeout = '60s'"))  # the migration gets the error
        service.execute(text("LOCK TABLE bulks IN ROW EXCLUSIVE MODE"))
        upgrade = pool.submit(schema.upgrade, postgres_url, "0013", messages.append)
        eventually(lambda: upgrade.done() or waits())
        service.execute(text("LOCK TABLE jobs IN ROW EXCLUSIVE MODE"))
        service.rollback()
        upgrade.result()
    assert messages == ["A table that must be changed is in use; retrying."]
    database.dispose()


@pytest.mark.long
def test_a_migration_whose_table_stays_in_use_says_what_to_end(postgres_url: str, monkeypatch: pytest.MonkeyPatch):
    schema.upgrade(postgres_url, "0012")
    monkeypatch.setattr(schema, "LOCK_TRIES", 1)
    database = Database(postgres_url, limited=False)
    with database.engine.connect() as service:
        service.execute(text("LOCK TABLE bulks IN ROW EXCLUSIVE MODE"))
        with pytest.raises(ServiceUnavailable, match="pg_stat_activity"):
            schema.upgrade(postgres_url, "0013")
    database.dispose()
    schema.upgrade(postgres_url, "0013")


# --- PostgreSQL indexes ---


@pytest.mark.long
def test_an_index_build_ignores_the_time_limits_of_the_service(postgres_url: str):
    schema.upgrade(postgres_url, "0005")
    limits = "options=-c%20statement_timeout%3D1000%20-c%20lock_timeout%3D1000"
    limited = f"{postgres_url}{'&' if '?' in postgres_url else '?'}{limits}"
    database = Database(postgres_url, limited=False)
    waiting = text(
        "SELECT 1 FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONCURRENTLY%' AND wait_event_type = 'Lock'"
        " AND query_start < clock_timestamp() - make_interval(secs => :seconds)"
    )

    def waits() -> bool:
        with database.read() as session:
            return session.scalar(waiting, {"seconds": migration_tools.LOCK_SECONDS + 1}) is not None

    with ThreadPoolExecutor() as pool, database.engine.connect() as writer:
        writer.execute(text("LOCK TABLE jobs IN ROW EXCLUSIVE MODE"))
        upgrade = pool.submit(schema.upgrade, limited)
        eventually(lambda: upgrade.done() or waits())
        writer.rollback()
        upgrade.result()
    assert schema.is_current(database, postgres_url)
    database.dispose()


def test_an_invalid_index_is_rebuilt(postgres_url: str):
    schema.upgrade(postgres_url)
    database = Database(postgres_url, limited=False)
    write(database, "CREATE INDEX ix_jobs_ended_ccnew ON jobs (finished_at)")
    for name in ("ix_jobs_ended", "ix_jobs_ended_ccnew"):
        invalidate(database, name)
    messages: list[str] = []
    schema.upgrade(postgres_url, tell=messages.append)
    assert [is_valid(database, name) for name in ("ix_jobs_ended", "ix_jobs_ended_ccnew")] == [True, None]
    assert len(messages) == 2
    database.dispose()


def test_a_migration_interrupted_between_indexes_resumes(postgres_url: str):
    schema.upgrade(postgres_url, "0005")
    database = Database(postgres_url, limited=False)
    write(
        database,
        "CREATE INDEX ix_jobs_tenant_id_state_id ON jobs (tenant_id, state, id)",
        "CREATE INDEX ix_jobs_bulk_id_state_id ON jobs (bulk_id, state, id)",
        "DROP INDEX ix_jobs_queued",
    )
    invalidate(database, "ix_jobs_bulk_id_state_id")
    schema.upgrade(postgres_url)
    assert is_valid(database, "ix_jobs_bulk_id_state_id")
    assert schema.is_current(database, postgres_url)
    database.dispose()
