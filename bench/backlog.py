"""What a million queued jobs cost: taken in, waiting, and passing through.

    python -m bench.backlog [--quick] [--lines N]

For PostgreSQL and SQLite: lines a second that a bulk is taken in with (sent over HTTP, checked, written), against the
same rows inserted straight into the database in the same transactions' size; the web process's memory meanwhile;
Redis's memory; jobs a second through the null model with the backlog against a backlog of a few thousand; and that
every query of the dispatcher and the API is served by an index.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import click
import psutil
from redis import Redis
from sqlalchemy import event, text, update
from sqlalchemy.orm import Session

from bench.common import NULL_CARD, postgres, report, running_stack, summary
from limner_shared import ledger, queries
from limner_shared.cards import load_card
from limner_shared.client import Client
from limner_shared.database import Database
from limner_shared.jobs import JobRequest, Lane, Priority
from limner_shared.stack import Stack
from limner_shared.tables import Job, Tenant

GOALS = {"postgresql": 5000, "sqlite": 3000}
WEB_GOAL_MB = 300
COST_GOAL = 1.2
SMALL = 4000


class Lines:
    """A body of JSON Lines, made as it is sent; `Client.submit_bulk` reads it as a file."""

    def __init__(self, count: int) -> None:
        self._lines = (f'{{"prompt": "a picture of number {number}", "seed": {number}}}\n' for number in range(count))

    def __iter__(self) -> Iterator[bytes]:
        return (line.encode() for line in self._lines)


def raw_rate(stack: Stack, rows: int) -> float:
    """Rows a second that the database alone takes, in chunks as the web writes them."""
    card = load_card(NULL_CARD)
    spec = card.resolve(JobRequest(prompt="a picture of number 1000"))
    database = Database(stack.settings.resolved_database_url)
    chunk = [ledger.NewJob(spec, 1, Priority.LOW, bulk_line=None)] * 1000
    with database.write() as session:
        bulk_id = ledger.open_bulk(session, ledger.LOCAL_TENANT)
    started = time.perf_counter()
    for _ in range(rows // 1000):
        with database.write() as session:
            ledger.submit(session, ledger.LOCAL_TENANT, chunk, bulk_id=bulk_id)
    rate = rows / (time.perf_counter() - started)
    with database.write() as session:
        session.execute(text("DELETE FROM jobs"))
        session.execute(text("DELETE FROM bulks"))
    database.dispose()
    return rate


def web_mb() -> float:
    """The largest web process's resident memory."""
    return max(
        process.memory_info().rss / 1e6
        for process in psutil.Process().children(recursive=True)
        if "serve" in process.cmdline()
    )


def redis_mb(stack: Stack) -> float:
    """What Redis has in use."""
    with Redis.from_url(stack._redis_url) as client:  # noqa: SLF001
        return client.info("memory")["used_memory"] / 1e6


def through(client: Client, bulk_id: str, jobs: int) -> float:
    """Jobs a second of a bulk, over so many of them once it is under way."""
    begun = client.bulk(bulk_id).ended
    while (before := client.bulk(bulk_id)).ended < begun + jobs // 4:
        time.sleep(0.02)
    started = time.perf_counter()
    while (after := client.bulk(bulk_id)).ended < before.ended + jobs // 2:
        time.sleep(0.02)
    return (after.ended - before.ended) / (time.perf_counter() - started)


def scans(stack: Stack) -> list[str]:
    """The queries that look at every job: there should be none."""
    database = Database(stack.settings.resolved_database_url)
    statements: list[tuple[str, Any]] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_c: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        statements.append((statement, parameters))

    with Session(database.engine) as session:
        session.execute(update(Tenant).values(keep_images_days=1.0, keep_prompts_days=1.0, keep_jobs_days=1.0))
        ask(session)
        session.rollback()
    found: list[str] = []
    is_sqlite = database.engine.dialect.name == "sqlite"
    with database.engine.connect() as connection:
        for statement, parameters in statements:
            if not statement.lstrip().upper().startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
                continue
            explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
            plan = "\n".join(str(row) for row in connection.exec_driver_sql(explain + statement, parameters))
            whole = "SCAN jobs" in plan and "USING" not in plan if is_sqlite else "Seq Scan on jobs" in plan
            if whole:
                found.append(f"{statement[:120]}\n{plan}")
        connection.rollback()
    database.dispose()
    return found


def ask(session: Session) -> None:
    """Every question and every sweep of the dispatcher, a worker and the API."""
    tenant = ledger.LOCAL_TENANT
    row = queries.jobs(session, tenant, queries.JobFilter(), 2, None)[0]
    queries.jobs(session, tenant, queries.JobFilter(dead=True), 2, None)
    queries.job(session, tenant, row.id)
    queries.position(session, row)
    queries.bulk_counts(session, queries.bulk(session, tenant, row.bulk_id or ""))
    queries.bulk_jobs(session, row.bulk_id or "", 10, 500)
    queries.queued_jobs(session, tenant, 1000)
    queries.has_active(session, tenant, "null")
    queries.has_waiting(session, "null", 2)
    queries.in_window(session, "null")
    for waiting in queries.waiting_tenants(session, "null", 2):
        for line in queries.waiting_lines(session, "null", 2, waiting, "", 64):
            queries.waiting_jobs(session, "null", 2, waiting, line.flow, "", 64)
    queries.has_lost(session)
    queries.has_late(session)
    queries.waiting_models(session)
    queries.next_jobs(session, "null", 8)
    queries.shares(session, [tenant])
    ledger.reap(session, 2)
    ledger.adopt(session, "null", 1000)
    ledger.expire(session, 1000)
    ledger.release_again(session, "null", Lane.LOW, 0.0)
    ledger.renew(session, "nobody", [row.id], 9)
    ledger.cancel(session, Job.id == "job_none")
    ledger.sweep_bulk(session, row.bulk_id or "", 1000)
    ledger.unswept_bulks(session)
    ledger.forget_jobs(session, 100)
    ledger.forget_images(session, 100)
    ledger.forget_prompts(session, 100)


def measure(kind: str, lines: int, rounds: int) -> dict[str, Any]:
    """All figures of one database."""
    settings: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning", "slots": 512}
    with ExitStack() as open_:
        if kind == "postgresql":
            settings["database_url"] = open_.enter_context(postgres())
        stack = open_.enter_context(running_stack(max_bulk_lines=lines, **settings))
        client = open_.enter_context(Client(stack.url))
        raw = raw_rate(stack, min(lines, 50_000))
        small = [through(client, client.submit_bulk(Lines(SMALL)).id, SMALL) for _ in range(rounds)]  # type: ignore[arg-type]
        redis_before = redis_mb(stack)
        started = time.perf_counter()
        backlog = client.submit_bulk(Lines(lines))  # type: ignore[arg-type]
        rate = lines / (time.perf_counter() - started)
        large = [through(client, backlog.id, SMALL) for _ in range(rounds)]
        client.pause_bulk(backlog.id)
        return {
            "lines_per_s": round(rate),
            "raw_insert_per_s": round(raw),
            "share_of_raw": round(rate / raw, 2),
            "web_mb": round(web_mb(), 1),
            "redis_mb": [round(redis_before, 1), round(redis_mb(stack), 1)],
            "jobs_per_s_small": summary(small),
            "jobs_per_s_backlog": summary(large),
            "cost_ratio": round(summary(small)["median"] / summary(large)["median"], 3),
            "queries_that_scan": scans(stack),
        }


@click.command()
@click.option("--quick", is_flag=True, help="30,000 lines, under 50 s.")
@click.option("--lines", default=1_000_000, show_default=True)
def main(quick: bool, lines: int) -> None:
    """Measure, and print the figures."""
    lines, rounds = (30_000, 2) if quick else (lines, 5)
    figures: dict[str, Any] = {"lines": lines}
    for kind in GOALS:
        figures[kind] = measure(kind, lines, rounds)
        click.echo(json.dumps({kind: figures[kind]}), err=True)
    met = all(
        figures[kind]["lines_per_s"] >= goal
        and figures[kind]["web_mb"] <= WEB_GOAL_MB
        and figures[kind]["cost_ratio"] <= COST_GOAL
        and not figures[kind]["queries_that_scan"]
        for kind, goal in GOALS.items()
    )
    bars = {
        f"{kind}, {what}": [figures[kind][name][part] for part in ("q1", "median", "q3")]
        for kind in GOALS
        for what, name in (("few queued", "jobs_per_s_small"), (f"{lines:,} queued", "jobs_per_s_backlog"))
    }
    goal = "5,000 and 3,000 lines/s; a job at most 1.2 x as dear with a million queued; no query scans"
    report("backlog", figures, goal, met=met, bars=bars, unit="jobs a second")


if __name__ == "__main__":
    main()
