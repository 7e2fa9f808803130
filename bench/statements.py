"""Every statement that the service issues, and whether an index serves it: recorded from the real code on a large table.

`fill` makes the table, `recorded` notes what is sent to any database meanwhile, and `scans` explains each of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, event, text

from limner_shared.database import Database
from limner_shared.jobs import JobSpec

LARGE = ("jobs", "events", "images", "idempotency_keys", "turns", "inputs")
"""The tables that grow with the jobs: none of them may be read whole."""
READ_IN_VAIN = 2000
"""An index that makes a query read more rows than these, to throw them away, does not serve it."""
CHUNK = 500_000
TENANT, OTHER = "tenant_local", "tenant_other"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with the parameters that it was first sent with."""

    sql: str
    parameters: Any


@contextmanager
def recorded() -> Iterator[dict[str, Statement]]:
    """What is sent to any database from now on, each statement once, however many values its lists have."""
    found: dict[str, Statement] = {}

    def note(_c: Connection, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        if sql.lstrip().upper().startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            one = parameters[0] if many else parameters
            found.setdefault(re.sub(r"\((?:%\(\w+\)s[:\w]*|\?)(?:, .*?)?\)", "(…)", sql), Statement(sql, one))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def scans(database: Database, statements: dict[str, Statement]) -> list[str]:
    """The statements that read a large table without an index that fits, each with its plan."""
    found: list[str] = []
    with database.engine.connect() as connection:
        look = _postgresql if connection.dialect.name == "postgresql" else _sqlite
        partial = _partial_indexes(connection)
        for statement in statements.values():
            trouble = look(connection, statement, partial)
            connection.rollback()
            if trouble:
                found.append(f"{trouble}\n{statement.sql}\n{statement.parameters}")
    return found


def _partial_indexes(connection: Connection) -> set[str]:
    """Indexes of the few rows that meet a condition: such a one may be read whole."""
    if connection.dialect.name == "postgresql":
        query = "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indpred IS NOT NULL"
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
    return set(connection.scalars(text(query)))


def _sqlite(connection: Connection, statement: Statement, partial: set[str]) -> str:
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters).all()
    for row in rows:
        scan = re.match(r"SCAN (\w+)(?:.* USING (?:COVERING )?INDEX (\w+))?", row[3])
        if scan and scan[1] in LARGE and scan[2] not in partial:
            return "\n".join(str(each[3]) for each in rows)
    return ""


def _postgresql(connection: Connection, statement: Statement, partial: set[str]) -> str:
    """Run for real, since a plan does not say how much an index range makes it read; rolled back by the caller."""
    explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", statement.parameters)
    [plan] = explained.scalar_one()
    for node in _nodes(plan["Plan"]):
        table, index = node.get("Relation Name"), node.get("Index Name")
        whole = node["Node Type"] == "Seq Scan" or (
            index is not None and "Index Cond" not in node and index not in partial
        )
        in_vain = node.get("Rows Removed by Filter", 0) * node.get("Actual Loops", 1)
        if table in LARGE and node.get("Actual Loops") and (whole or in_vain > READ_IN_VAIN):
            return json.dumps(node)
    return ""


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)


# --- a large table ---------------------------------------------------------------------------------------------------


def fill(database: Database, spec: JobSpec, jobs: int) -> None:
    """Two tenants' jobs as years leave them: of each hundred 94 have succeeded and one waits, two of them in a bulk."""
    with database.write() as session:
        is_sqlite = session.get_bind().dialect.name == "sqlite"
        session.execute(text(f"INSERT INTO tenants (id, name, created_at) VALUES ('{OTHER}', 'other', 0)"))  # noqa: S608
        for insert in _inserts(_series(0, 999, is_sqlite), is_sqlite)[:1]:
            session.execute(text(insert))
    for first in range(0, jobs, CHUNK):
        series = _series(first, min(jobs, first + CHUNK) - 1, is_sqlite)
        with database.write() as session:
            for insert in _inserts(series, is_sqlite)[1:]:
                values = {"spec": spec.model_dump_json(), "model": spec.model} if ":spec" in insert else {}
                session.execute(text(insert), values)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE" if is_sqlite else "VACUUM ANALYZE"))


def _series(first: int, last: int, is_sqlite: bool) -> str:
    if is_sqlite:
        return f"WITH RECURSIVE series(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM series WHERE n < {last})"
    return f"WITH series AS (SELECT generate_series({first}, {last}) AS n)"


def _inserts(series: str, is_sqlite: bool) -> list[str]:
    """An INSERT for the bulks, and one for each table of jobs, from a series of numbers `n`."""

    def padded(number: str, width: int) -> str:
        return f"printf('%0{width}d', {number})" if is_sqlite else f"lpad(({number})::text, {width}, '0')"

    key = padded("n", 26)
    spec, empty = (":spec", "'{}'") if is_sqlite else ("CAST(:spec AS jsonb)", "'{}'::jsonb")
    state = (
        "CASE WHEN n % 100 < 94 THEN 'succeeded' WHEN n % 100 < 97 THEN 'failed' WHEN n % 100 < 99 THEN 'canceled'"
        " ELSE 'queued' END"
    )
    tenant = f"CASE WHEN n % 10 = 0 THEN '{TENANT}' ELSE '{OTHER}' END"
    bulk = f"CASE WHEN n % 50 = 49 THEN 'bulk_' || {padded('n / 50 % 1000', 4)} END"
    error = "CASE WHEN n % 1000 = 94 THEN 'worker_lost' WHEN n % 100 IN (94, 95, 96) THEN 'generation_failed' END"
    return [
        "INSERT INTO bulks (id, tenant_id, state, total, created_at, touched_at)"
        f" {series} SELECT 'bulk_' || {padded('n', 4)}, '{OTHER}', 'open', 1, 0, 0 FROM series",
        "INSERT INTO jobs (id, tenant_id, bulk_id, bulk_line, flow, state, version, priority, model, cost, spec, extra,"
        " attempt, losses, created_at, started_at, finished_at, deadline_at, error_code)"
        f" {series} SELECT 'job_' || {key}, {tenant}, {bulk}, n, coalesce({bulk}, {tenant}), {state}, 3, n % 3, :model,"
        f" 24, {spec}, {empty}, 1, 0, 1700000000 + n, 1700000000 + n, CASE WHEN n % 100 < 99 THEN 1700000001 + n END,"
        f" CASE WHEN n % 20 = 19 THEN 2000000000 + n END, {error} FROM series",
        "INSERT INTO events (job_id, attempt, kind, detail, created_at)"
        f" {series} SELECT 'job_' || {key}, 1, {state}, {empty}, 1700000000 + n FROM series",
        "INSERT INTO images (id, job_id, image_index, sha256, media_type, width, height, size_bytes, seed, receipt,"
        f" created_at) {series} SELECT 'img_' || {key}, 'job_' || {key}, 0, {padded('n', 64)}, 'image/png', 8, 8, 99, 7,"
        f" {empty}, 1700000000 + n FROM series WHERE n % 100 < 94",
        "INSERT INTO idempotency_keys (tenant_id, key, digest, resource_id, created_at)"
        f" {series} SELECT {tenant}, 'key ' || n, {padded('n', 64)}, 'job_' || {key}, 2000000000 + n FROM series"
        " WHERE n % 10 < 3",
        "INSERT INTO inputs (sha256, job_id)"
        f" {series} SELECT {padded('n', 64)}, 'job_' || {key} FROM series WHERE n % 10 = 5",
        "INSERT INTO conversations (id, tenant_id, title, created_at, touched_at)"
        f" {series} SELECT 'conv_' || {key}, {tenant}, 'a talk', 1, 1 FROM series WHERE n % 20 = 0",
        "INSERT INTO turns (id, conversation_id, job_id, text, created_at)"
        f" {series} SELECT 'turn_' || {key}, 'conv_' || {key}, 'job_' || {key}, 'words', 1 FROM series WHERE n % 20 = 0",
    ]
