"""Cost of a million queued jobs (intake, waiting, throughput) and of ten million jobs that have ended.

    python -m bench.backlog [--quick] [--lines N] [--jobs N] [--sqlite-jobs N]

For PostgreSQL and SQLite: intake of a bulk in lines per second (sent over HTTP, validated, written), against the same
rows inserted directly into the database in transactions of the same size; the memory of the web process meanwhile;
Redis's memory; and jobs per second of the null model with this backlog, against a backlog of a few thousand.
`bench/size.py` then compares single operations in tables of few and of many jobs, and explains every statement that
any process issues.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Final

import click
import psutil
from sqlalchemy import text

from bench import size
from bench.common import NULL_CARD, postgres, redis_client, report, running_stack, summary
from limner_client.client import Client
from limner_client.local.stack import Stack
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.domain.catalogue import load_card
from limner_shared.domain.jobs import JobRequest, Priority

GOALS: Final = {"postgresql": 5000, "sqlite": 3000}
WEB_GOAL_MB: Final = 300
COST_GOAL: Final = 1.2
SMALL, SMALL_QUICK = 4000, 1200
"""Jobs of the small backlog, half of which are timed."""


class Lines:
    """A JSON Lines body, generated while it is sent; `Client.submit_bulk` reads it as a file."""

    def __init__(self, count: int) -> None:
        self._lines = (f'{{"prompt": "a picture of number {number}", "seed": {number}}}\n' for number in range(count))

    def __iter__(self) -> Iterator[bytes]:
        return (line.encode() for line in self._lines)


def raw_rate(stack: Stack, rows: int) -> float:
    """Return the insert rate of the database alone in rows per second, in the chunk size of the web server."""
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
    """Return the resident memory of the largest web process in MB."""
    return max(
        process.memory_info().rss / 1e6
        for process in psutil.Process().children(recursive=True)
        if "serve" in process.cmdline()
    )


def redis_mb(stack: Stack) -> float:
    """Return the memory used by Redis in MB."""
    with redis_client(stack.redis_url) as client:
        return client.info("memory")["used_memory"] / 1e6


def throughput(client: Client, bulk_id: str, jobs: int) -> float:
    """Return a bulk's jobs per second over `jobs // 2` jobs, after the first `jobs // 4`."""
    begun = client.bulk(bulk_id).ended
    while (before := client.bulk(bulk_id)).ended < begun + jobs // 4:
        time.sleep(0.02)
    started = time.perf_counter()
    while (after := client.bulk(bulk_id)).ended < before.ended + jobs // 2:
        time.sleep(0.02)
    return (after.ended - before.ended) / (time.perf_counter() - started)


def measure(kind: str, lines: int, small_lines: int, rounds: int) -> dict[str, Any]:
    """Return all figures of one database, with a backlog of `lines` jobs and one of `small_lines`."""
    settings: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning", "slots": 512}
    with ExitStack() as open_:
        if kind == "postgresql":
            settings["database_url"] = open_.enter_context(postgres())
        stack = open_.enter_context(running_stack(max_bulk_lines=lines, **settings))
        client = open_.enter_context(Client(stack.url))
        raw = raw_rate(stack, min(lines, 50_000))
        small = [throughput(client, client.submit_bulk(Lines(small_lines)).id, small_lines) for _ in range(rounds)]
        redis_before = redis_mb(stack)
        started = time.perf_counter()
        backlog = client.submit_bulk(Lines(lines))
        rate = lines / (time.perf_counter() - started)
        large = [throughput(client, backlog.id, small_lines) for _ in range(rounds)]
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
        }


@click.command()
@click.option("--quick", is_flag=True, help="6,000 lines and 30,000 jobs, under 50 s.")
@click.option("--lines", default=1_000_000, show_default=True, help="Lines of the bulk; 0 skips this part.")
@click.option("--jobs", default=10_000_000, show_default=True, help="Jobs in PostgreSQL; about 2 GB per million.")
@click.option("--sqlite-jobs", default=1_000_000, show_default=True)
def main(quick: bool, lines: int, jobs: int, sqlite_jobs: int) -> None:
    """Measure, and print the figures."""
    lines, jobs, sqlite_jobs = (6_000, 30_000, 20_000) if quick else (lines, jobs, sqlite_jobs)
    figures: dict[str, Any] = {"lines": lines}
    for kind, ended in (("postgresql", jobs), ("sqlite", sqlite_jobs)):
        of_bulk = measure(kind, lines, SMALL_QUICK if quick else SMALL, 1 if quick else 5) if lines else {}
        figures[kind] = of_bulk | {"table": size.measure(kind, ended, 4 if quick else 40)}
        click.echo(json.dumps({kind: figures[kind]}), err=True)
    met = all(_met(kind, figures[kind]) for kind in GOALS)
    bars: dict[str, Sequence[float]] = {
        f"{kind}, {what}, {named}": [cost[table]]
        for kind in GOALS
        for what, cost in figures[kind]["table"]["ms"].items()
        for table, named in (("many", f"{figures[kind]['table']['jobs']:,} jobs"), ("few", f"{size.FEW:,} jobs"))
    }
    goal = (
        "5,000 and 3,000 lines/s; a job costs at most 1.2 x with a million queued, and any operation with ten million"
        " ended; no statement scans"
    )
    report("backlog", figures, goal, met=met, bars=bars, unit="milliseconds of 16 jobs")


def _met(kind: str, figures: dict[str, Any]) -> bool:
    table = figures["table"]
    grown = all(cost["ratio"] <= COST_GOAL for cost in table["ms"].values()) and not table["statements_that_scan"]
    taken = "lines_per_s" not in figures or (
        figures["lines_per_s"] >= GOALS[kind]
        and figures["web_mb"] <= WEB_GOAL_MB
        and figures["cost_ratio"] <= COST_GOAL
    )
    return grown and taken


if __name__ == "__main__":
    main()
