"""What the database could give back, and what keeps it from it: dead rows, free pages, old transactions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from limner_client.local.findings import Check, State
from limner_shared.db.engine import Database

MIB: Final = 1 << 20
MANY_DEAD: Final = 10_000
"""Fewer dead rows than this never matter."""
LATE: Final = 2.0
"""Autovacuum is late when a table has this many times the dead rows at which it should begin."""
MUCH_FREE: Final = 0.5
"""The share of a file that may be free before it is worth to shrink it."""
MUCH_BYTES: Final = 100 * MIB
OLD_SECONDS: Final = 300
"""A transaction that is open for this long keeps vacuum from all rows that were deleted meanwhile."""
WRAPAROUND: Final = 1_500_000_000
"""Of about 2,000 million transactions, after which PostgreSQL accepts no more."""

STATISTICS: Final = text("SELECT 1 FROM sqlite_stat1 LIMIT 1")
TABLES: Final = text("""
SELECT c.relname AS name, s.n_live_tup AS live, s.n_dead_tup AS dead, s.n_mod_since_analyze AS changed,
  greatest(s.last_vacuum, s.last_autovacuum) AS vacuumed, greatest(s.last_analyze, s.last_autoanalyze) AS analyzed,
  pg_relation_size(c.oid) AS heap, pg_total_relation_size(c.oid) AS total,
  coalesce('autovacuum_enabled=false' = ANY (c.reloptions), false) AS off,
  coalesce(o.threshold, current_setting('autovacuum_vacuum_threshold')::float8)
    + coalesce(o.scale, current_setting('autovacuum_vacuum_scale_factor')::float8) * greatest(c.reltuples, 0) AS due,
  w.row_bytes * greatest(s.n_live_tup, 0) AS needed
FROM pg_stat_user_tables s JOIN pg_class c ON c.oid = s.relid
LEFT JOIN LATERAL (
  SELECT max(option_value::float8) FILTER (WHERE option_name = 'autovacuum_vacuum_threshold') AS threshold,
    max(option_value::float8) FILTER (WHERE option_name = 'autovacuum_vacuum_scale_factor') AS scale
  FROM pg_options_to_table(c.reloptions) WHERE option_name LIKE 'autovacuum_vacuum_%') o ON true
LEFT JOIN LATERAL (
  SELECT 28 + sum((1 - null_frac) * avg_width) AS row_bytes
  FROM pg_stats WHERE schemaname = s.schemaname AND tablename = s.relname) w ON true
ORDER BY total DESC, name""")
TRANSACTIONS: Final = text("""
SELECT pid, coalesce(application_name, '') AS program, state, extract(epoch FROM now() - xact_start) AS seconds
FROM pg_stat_activity
WHERE xact_start IS NOT NULL AND backend_type = 'client backend' AND pid <> pg_backend_pid()
  AND now() - xact_start > make_interval(secs => :seconds)
ORDER BY xact_start""")
SLOTS: Final = text("SELECT slot_name FROM pg_replication_slots WHERE NOT active ORDER BY slot_name")
PREPARED: Final = text("SELECT gid FROM pg_prepared_xacts WHERE now() - prepared > make_interval(secs => :seconds)")
DATABASE: Final = text("""
SELECT current_setting('autovacuum') = 'on' AS autovacuum, age(datfrozenxid) AS age, pg_database_size(oid) AS bytes,
  current_setting('autovacuum_freeze_max_age')::int8 AS freeze_at
FROM pg_database WHERE datname = current_database()""")


def report(database: Database) -> Iterator[Check]:
    """Read the database's statistics, and yield the findings. Changes nothing."""
    with database.read() as session:
        if session.get_bind().dialect.name == "sqlite":
            yield from _sqlite(session, Path(database.engine.url.database or ""))
        else:
            yield from _postgresql(session)


# --- SQLite ---


def _sqlite(session: Session, file: Path) -> Iterator[Check]:
    pages, free, page_bytes = (_pragma(session, name) for name in ("page_count", "freelist_count", "page_size"))
    found = f"{_size(pages * page_bytes)}, of which {_size(free * page_bytes)} are free pages"
    if free * page_bytes > MUCH_BYTES and free > MUCH_FREE * pages:
        advice = "New rows use them. For a smaller file, stop the service and run VACUUM in it: it needs as much space."
        yield Check("file", State.WARN, found, advice)
    else:
        yield Check("file", State.OK, found)
    log = file.with_name(f"{file.name}-wal")
    size = log.stat().st_size if log.exists() else 0
    if size > MUCH_BYTES:
        advice = "A transaction that stays open keeps it from being emptied: look for a program that reads the file."
        yield Check("write-ahead log", State.WARN, _size(size), advice)
    else:
        yield Check("write-ahead log", State.OK, _size(size))
    if session.scalar(text("SELECT 1 FROM sqlite_master WHERE name = 'sqlite_stat1'")) and session.scalar(STATISTICS):
        advice = "Every statement is written to need none, and old ones mislead: DELETE FROM sqlite_stat1; and restart."
        yield Check("planner's statistics", State.WARN, "present, by ANALYZE or PRAGMA optimize", advice)


def _pragma(session: Session, name: str) -> int:
    return int(session.scalar(text(f"PRAGMA {name}")) or 0)


# --- PostgreSQL ---


def _postgresql(session: Session) -> Iterator[Check]:
    whole = session.execute(DATABASE).one()
    yield Check("database", State.OK, _size(whole.bytes))
    if whole.autovacuum:
        yield Check("autovacuum", State.OK, "on")
    else:
        yield Check("autovacuum", State.FAIL, "off", "Set autovacuum = on in postgresql.conf, and reload it.")
    yield _wraparound(whole)
    yield from _hindrances(session)
    for table in session.execute(TABLES):
        yield _table(table)


def _wraparound(whole: Row[Any]) -> Check:
    age, freeze_at = (f"{count / 1e6:,.0f} million" for count in (whole.age, whole.freeze_at))
    found = f"the oldest is {age} transactions old; rows are frozen from {freeze_at} on"
    if whole.age > WRAPAROUND:
        return Check("transaction ids", State.FAIL, found, "Run VACUUM FREEZE now: PostgreSQL stops at 2,000 million.")
    if whole.age > whole.freeze_at * LATE:
        advice = "Autovacuum cannot freeze old rows: see the transactions and slots below, and the server's log."
        return Check("transaction ids", State.WARN, found, advice)
    return Check("transaction ids", State.OK, found)


def _hindrances(session: Session) -> Iterator[Check]:
    """What keeps vacuum from removing dead rows in any table."""
    old = session.execute(TRANSACTIONS, {"seconds": OLD_SECONDS}).all()
    for row in old:
        found = f"process {row.pid} ({row.program or 'unnamed'}), {row.state}, open for {row.seconds:,.0f} s"
        advice = f"It keeps dead rows in all tables. If nothing needs it: SELECT pg_terminate_backend({row.pid});"
        yield Check("old transaction", State.WARN, found, advice)
    for (name,) in session.execute(PREPARED, {"seconds": OLD_SECONDS}):
        advice = "It keeps dead rows in all tables: commit it or roll it back by its name."
        yield Check("prepared transaction", State.WARN, str(name), advice)
    for (name,) in session.execute(SLOTS):
        advice = f"It keeps dead rows and log files. If no standby needs it: SELECT pg_drop_replication_slot('{name}');"
        yield Check("inactive slot", State.WARN, str(name), advice)
    if not old:
        yield Check("old transactions", State.OK, f"none older than {OLD_SECONDS} s")


def _table(row: Row[Any]) -> Check:
    name, dead = f"table {row.name}", row.dead
    share = dead / max(1, row.live + dead)
    found = f"{_size(row.total)}, {row.live:,} rows, {dead:,} dead ({share:.0%}); last vacuum {_moment(row.vacuumed)}"
    if row.off:
        advice = f"ALTER TABLE {row.name} RESET (autovacuum_enabled);"
        return Check(name, State.FAIL, f"{found}; autovacuum is off for it", advice)
    if dead > MANY_DEAD and dead > LATE * row.due:
        advice = (
            f"Autovacuum is late, which should begin at {row.due:,.0f} dead rows. If nothing above hinders it: "
            f"ALTER TABLE {row.name} SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1); "
            f"now: VACUUM (ANALYZE) {row.name};"
        )
        return Check(name, State.WARN, found, advice)
    if row.changed > MANY_DEAD and row.changed > row.live:
        advice = f"The planner's statistics are older than most rows: ANALYZE {row.name};"
        return Check(name, State.WARN, f"{found}; last analyzed {_moment(row.analyzed)}", advice)
    spare = row.heap - (row.needed or row.heap)
    if spare > MUCH_BYTES and spare > MUCH_FREE * row.heap:
        advice = (
            "New rows use it. To give it back to the disk, run pg_repack, or in a quiet hour VACUUM FULL, which locks "
            "the table."
        )
        return Check(name, State.WARN, f"{found}; about {_size(spare)} of {_size(row.heap)} are unused", advice)
    return Check(name, State.OK, found)


def _moment(at: datetime | None) -> str:
    return "never" if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _size(count: float) -> str:
    return f"{count / MIB:,.1f} MiB"
