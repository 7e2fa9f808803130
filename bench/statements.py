"""Records every statement that the service issues, and checks that an index serves it.

`fill` creates the tables, `recorded` records the statements sent to a database, and `scans` explains each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Engine, event, text

from limner_shared.db.engine import Database
from limner_shared.db.migration_tools import lift_limits
from limner_shared.domain.embeddings import VECTOR_BYTES
from limner_shared.domain.jobs import JobSpec

LARGE_ROWS: Final = 10_000
"""No table of this size may be scanned."""
MAX_FILTERED_ROWS: Final = 2000
"""An index does not serve a query that filters out more rows than this."""
CHUNK: Final = 500_000
BULKS, WAITING, SCHEDULED = 100, 100, 100
TENANT, OTHER = "tenant_local", "tenant_other"
ENCODER: Final = "tower:1"


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with the parameters of its first execution."""

    sql: str
    parameters: Any


@contextmanager
def recorded(database: Database) -> Iterator[dict[str, Statement]]:
    """Record each statement sent to a database once, over any connection, whatever the length of its value lists.

    Other databases may be in use meanwhile: their statements may have another syntax.
    """
    found: dict[str, Statement] = {}

    def note(connection: Connection, _cursor: Any, sql: str, parameters: Any, _context: Any, many: bool) -> None:
        here = connection.engine.url == database.engine.url
        if here and sql.lstrip().upper().startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            one = parameters[0] if many else parameters
            found.setdefault(re.sub(r"\((?:%\(\w+\)s[:\w]*|\?)(?:, .*?)?\)", "(…)", sql), Statement(sql, one))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def scans(database: Database, statements: dict[str, Statement], *, without_statistics: bool = False) -> list[str]:
    """Return the statements that read a large table without a suitable index, each with its plan.

    `without_statistics` deletes those of SQLite first: a service has none.
    """
    found: list[str] = []
    with database.engine.connect() as connection:
        look = _postgresql if connection.dialect.name == "postgresql" else _sqlite
        partial, large = _partial_indexes(connection), _large_tables(connection)
        connection.rollback()
    if without_statistics:
        with database.write() as session:
            session.execute(text("DELETE FROM sqlite_stat1"))
        database.engine.dispose()  # a connection reads them when it is opened
    with database.engine.connect() as connection:
        for statement in statements.values():
            trouble = look(connection, statement, partial, large)
            connection.rollback()
            if trouble:
                found.append(f"{trouble}\n{statement.sql}\n{statement.parameters}")
    return found


def _large_tables(connection: Connection) -> set[str]:
    """Return the large tables by the statistics of `fill`; the planner rightly scans small tables."""
    if connection.dialect.name == "postgresql":
        query = f"SELECT relname FROM pg_class WHERE relkind = 'r' AND reltuples >= {LARGE_ROWS}"  # noqa: S608 - a number
        return set(connection.scalars(text(query)))
    rows = connection.execute(text("SELECT tbl, stat FROM sqlite_stat1 WHERE stat IS NOT NULL"))
    return {row[0] for row in rows if int(row[1].split()[0]) >= LARGE_ROWS}


def _partial_indexes(connection: Connection) -> set[str]:
    """Return the partial indexes, which hold few rows and may be scanned."""
    if connection.dialect.name == "postgresql":
        query = "SELECT relname FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indpred IS NOT NULL"
    else:
        query = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql LIKE '% WHERE %'"
    return set(connection.scalars(text(query)))


def _sqlite(connection: Connection, statement: Statement, partial: set[str], large: set[str]) -> str:
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement.sql}", statement.parameters).all()
    for row in rows:
        scan = re.match(r"SCAN (\w+)(?:.* USING (?:COVERING )?INDEX (\w+))?", row[3])
        if scan and scan[1] in large and scan[2] not in partial:
            return "\n".join(str(each[3]) for each in rows)
    return ""


def _postgresql(connection: Connection, statement: Statement, partial: set[str], large: set[str]) -> str:
    """Run the statement, since a plan does not tell how many rows an index range reads; the caller rolls back."""
    explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement.sql}", statement.parameters)
    [plan] = explained.scalar_one()
    for node in _nodes(plan["Plan"]):
        table, index = node.get("Relation Name"), node.get("Index Name")
        whole = node["Node Type"] == "Seq Scan" or (
            index is not None and "Index Cond" not in node and index not in partial
        )
        filtered = node.get("Rows Removed by Filter", 0) * node.get("Actual Loops", 1)
        if table in large and node.get("Actual Loops") and (whole or filtered > MAX_FILTERED_ROWS):
            return json.dumps(node)
    return ""


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", []):
        yield from _nodes(inner)


# --- a large table ---------------------------------------------------------------------------------------------------


def fill(database: Database, spec: JobSpec, jobs: int) -> None:
    """Insert two tenants' jobs: of each hundred, 94 have succeeded and two are in a bulk; a hundred wait,
    and a hundred are scheduled.
    """
    with database.write() as session:
        say = _Dialect(session.get_bind().dialect.name == "sqlite")
        session.execute(text(f"INSERT INTO tenants (id, name, created_at) VALUES ('{OTHER}', 'other', 0)"))  # noqa: S608
    _insert(database, say, "bulks", _bulk(say), 0, BULKS)
    indexes = [] if say.is_sqlite else _drop_indexes(database)
    for first in range(0, jobs, CHUNK):
        for table, (columns, condition) in _rows(say).items():
            _insert(database, say, table, columns, first, min(jobs, first + CHUNK), condition, spec)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        lift_limits(connection)  # an index of ten million rows takes minutes
        for index in indexes:
            connection.execute(text(index))
        connection.execute(text("ANALYZE" if say.is_sqlite else "VACUUM ANALYZE"))
        connection.commit()


def _drop_indexes(database: Database) -> list[str]:
    """Drop the indexes that are not constraints, to build them at the end; returns their definitions."""
    query = text(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND NOT EXISTS"
        " (SELECT 1 FROM pg_constraint WHERE conname = indexname)"
    )
    with database.write() as session:
        found = session.execute(query).all()
        for name, _ in found:
            session.execute(text(f'DROP INDEX "{name}"'))
    return [definition for _, definition in found]


@dataclass(frozen=True, slots=True)
class _Dialect:
    """The expressions in which the two databases differ."""

    is_sqlite: bool

    def padded(self, number: str, width: int) -> str:
        return f"printf('%0{width}d', {number})" if self.is_sqlite else f"lpad(({number})::text, {width}, '0')"

    def json(self, value: str) -> str:
        return value if self.is_sqlite else f"CAST({value} AS jsonb)"

    @property
    def zeros(self) -> str:
        size = 2 * VECTOR_BYTES
        return f"zeroblob({VECTOR_BYTES})" if self.is_sqlite else f"decode(repeat('0', {size}), 'hex')"

    def series(self, first: int, end: int) -> str:
        """Return a CTE of the numbers n from `first` to `end - 1`."""
        if self.is_sqlite:
            following = f"SELECT n + 1 FROM series WHERE n + 1 < {end}"  # noqa: S608 - numbers
            return f"WITH RECURSIVE series(n) AS (VALUES ({first}) UNION ALL {following})"
        return f"WITH series AS (SELECT generate_series({first}, {end - 1}) AS n)"


def _insert(
    database: Database,
    say: _Dialect,
    table: str,
    columns: dict[str, str],
    first: int,
    end: int,
    condition: str = "true",
    spec: JobSpec | None = None,
) -> None:
    values = {} if spec is None or "spec" not in columns else {"spec": spec.model_dump_json(), "model": spec.model}
    names, expressions = ", ".join(columns), ", ".join(columns.values())
    selected = f"{say.series(first, end)} SELECT {expressions} FROM series WHERE {condition}"  # noqa: S608 - constants
    with database.write() as session:
        if not say.is_sqlite:
            session.execute(text("SET LOCAL statement_timeout = 0"))
        session.execute(text(f"INSERT INTO {table} ({names}) {selected}"), values)


def _bulk(say: _Dialect) -> dict[str, str]:
    key = f"'bulk_' || {say.padded('n', 4)}"
    numbers = {"total": "1", "created_at": "0", "touched_at": "0"}
    return {"id": key, "tenant_id": f"'{OTHER}'", "state": "'open'", **numbers}


def _rows(say: _Dialect) -> dict[str, tuple[dict[str, str], str]]:
    """Return, for each table, its columns as expressions of a number n, and the condition on n for a row."""
    key, digest, empty = say.padded("n", 26), say.padded("n", 64), say.json("'{}'")
    job = f"'job_' || {key}"
    at = "1700000000 + n"
    tenant = f"CASE WHEN n % 10 = 0 THEN '{TENANT}' ELSE '{OTHER}' END"
    return {
        "jobs": (_job(say, job, tenant), "true"),
        "events": ({"job_id": job, "attempt": "1", "kind": "'x'", "detail": empty, "created_at": at}, "true"),
        "images": (
            {"id": f"'img_' || {key}", "job_id": job, "image_index": "0", "sha256": digest, "media_type": "'image/png'"}
            | {"width": "8", "height": "8", "size_bytes": "99", "seed": "7", "created_at": at}
            | {"receipt": say.json("""'{"buckets": [[1, 24]]}'""")},
            "n % 100 < 94",
        ),
        "image_embeddings": (
            {"image_id": f"'img_' || {key}", "tenant_id": tenant, "encoder": f"'{ENCODER}'", "vector": say.zeros},
            "n % 100 < 94",
        ),
        "idempotency_keys": (
            {"tenant_id": tenant, "key": "'key ' || n", "digest": digest, "resource_id": job}
            | {"created_at": "2000000000 + n"},
            "n % 10 < 3",
        ),
        "inputs": ({"sha256": digest, "job_id": job}, "n % 10 = 5"),
        "response_inputs": ({"job_id": job, "items": say.json("""'{"data": []}'""")}, "n % 10 = 6"),
        "audit_log": (
            {"tenant_id": tenant, "actor": "'operator'", "action": "'key_created'", "subject": "'x'"}
            | {"detail": empty, "created_at": at},
            "n % 4 = 0",
        ),
        **_webhooks(say, key, tenant),
        **_batches(say, key, tenant, empty),
        "conversations": (
            {"id": f"'conv_' || {key}", "tenant_id": tenant, "title": "'a talk'", "created_at": at, "touched_at": at},
            "n % 7 = 0",
        ),
        "turns": (
            {"id": f"'turn_' || {key}", "conversation_id": f"'conv_' || {key}", "job_id": job, "text": "'words'"}
            | {"created_at": at},
            "n % 7 = 0",
        ),
    }


def _webhooks(say: _Dialect, key: str, tenant: str) -> dict[str, tuple[dict[str, str], str]]:
    """Return the same for half of the jobs' events: of a thousand deliveries one is pending, and ten have failed."""
    event, delivery, at = f"'evt_' || {key}", f"'whd_' || {key}", "1700000000 + n"
    state = "CASE WHEN n % 1000 = 0 THEN 'pending' WHEN n % 100 = 2 THEN 'failed' ELSE 'delivered' END"
    whose = {"tenant_id": tenant, "endpoint_id": "'we_' || n % 5", "receiver": "'we_' || n % 5", "url": "'https://x'"}
    times = {"next_at": "4000000000", "deadline_at": "4000000000", "created_at": at}
    ended = {"ended_at": f"CASE WHEN n % 1000 > 0 THEN {at} END", "attempt": "1", "tries": "1"}
    tried = {"delivery_id": delivery, "number": "1", "url": "'https://x'", "status": "200", "seconds": "0.1"}
    return {
        "webhook_events": (
            {"id": event, "tenant_id": tenant, "type": "'job.succeeded'", "subject_id": f"'job_' || {key}"}
            | {"created_at": at},
            "n % 2 = 0",
        ),
        "webhook_deliveries": (
            {"id": delivery, "event_id": event, "state": state} | whose | times | ended,
            "n % 2 = 0",
        ),
        "webhook_attempts": (tried | {"request_headers": say.json("'{}'"), "created_at": at}, "n % 2 = 0"),
    }


def _batches(say: _Dialect, key: str, tenant: str, empty: str) -> dict[str, tuple[dict[str, str], str]]:
    """Return the same for batches, which have ended but for one in a thousand, and for lines of a hundred bulks."""
    state, at = "CASE WHEN n % 1000 = 0 THEN 'in_progress' ELSE 'completed' END", "1700000000 + n"
    whose = {"id": f"'batch_' || {key}", "tenant_id": tenant, "state": state, "endpoint": "'x'", "origin": "'x'"}
    times = {"created_at": at, "expires_at": "4000000000", "ended_at": "CASE WHEN n % 1000 > 0 THEN 4000000000 + n END"}
    more = {"input_file_id": "'file_x'", "output_seconds": "1", "completion_window": "'24h'", "bulk_id": "'bulk_0000'"}
    line = {"bulk_id": f"'bulk_' || {say.padded('n % 100', 4)}", "line": "n", "custom_id": "'' || n", "output": empty}
    return {"batches": (whose | times | more, "n % 7 = 0"), "batch_lines": (line, "true")}


def _job(say: _Dialect, key: str, tenant: str) -> dict[str, str]:
    bulk = f"CASE WHEN n % 50 = 49 THEN 'bulk_' || {say.padded(f'n / 50 % {BULKS}', 4)} END"
    waits = f"n % 100 = 99 AND n < {100 * WAITING}"
    scheduled = f"n % 100 = 98 AND n < {100 * SCHEDULED}"
    state = (
        f"CASE WHEN {waits} OR {scheduled} THEN 'queued' WHEN n % 100 < 94 THEN 'succeeded'"
        " WHEN n % 100 < 97 THEN 'failed' ELSE 'canceled' END"
    )
    error = "CASE WHEN n % 1000 = 94 THEN 'worker_lost' WHEN n % 100 IN (94, 95, 96) THEN 'generation_failed' END"
    names = {"id": key, "tenant_id": tenant, "bulk_id": bulk, "flow": f"coalesce({bulk}, {tenant})", "state": state}
    numbers = {"bulk_line": "n", "version": "3", "priority": "n % 3", "cost": "24", "attempt": "1", "losses": "0"}
    times = {
        "created_at": "1700000000 + n",
        "started_at": "1700000000 + n",
        "finished_at": f"CASE WHEN NOT ({waits} OR {scheduled}) THEN 1700000001 + n END",
        "not_before": f"CASE WHEN {scheduled} THEN 4000000000 + n END",
        "deadline_at": "CASE WHEN n % 20 = 19 THEN 2000000000 + n END",
    }
    what = {"model": ":model", "spec": say.json(":spec"), "extra": say.json("'{}'"), "error_code": error}
    return names | numbers | times | what
