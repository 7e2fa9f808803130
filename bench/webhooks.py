"""Time from the commit of a job's end to the arrival of its webhook, alone and beside receivers that hang.

    python -m bench.webhooks [--quick]

The jobs are ended through the ledger and announced as a worker does it. Dispatcher, Valkey and web server are real
processes; the receivers are in this process, so that one clock measures both ends.
"""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

import click

from bench.common import report, running_stack, summary
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import NewJob
from limner_shared.db.tables import Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.messaging.hints import Hints, connect

GOAL_SECONDS: Final = 0.25
TENANT: Final = ledger.LOCAL_TENANT
HANGING: Final = 20
EVENTS: Final = ["job.canceled"]


@dataclass
class Arrivals:
    """When the event of each job arrived."""

    url: str = ""
    at: dict[str, float] = field(default_factory=dict[str, float])
    changed: threading.Condition = field(default_factory=threading.Condition)

    def wait(self, job_id: str) -> float:
        """Wait for the event of a job; returns the time of its arrival."""
        with self.changed:
            if not self.changed.wait_for(lambda: job_id in self.at, 60):
                raise SystemExit(f"the webhook of {job_id} did not arrive")
            return self.at[job_id]


@contextmanager
def receiver() -> Iterator[Arrivals]:
    """Run a receiver that answers at once."""
    arrivals = Arrivals()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            moment = time.perf_counter()
            event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with arrivals.changed:
                arrivals.at[event["data"]["id"]] = moment
                arrivals.changed.notify_all()
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    arrivals.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield arrivals
    server.shutdown()
    server.server_close()


@contextmanager
def hanging_receivers(count: int) -> Iterator[list[str]]:
    """Listen without ever accepting; yields the URLs."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    yield [f"http://127.0.0.1:{each.getsockname()[1]}/" for each in sockets]
    for each in sockets:
        each.close()


class Service:
    """Ends jobs that have a webhook."""

    def __init__(self, database: Database, hints: Hints) -> None:
        _, self._spec = Catalogue.load([], "limner-flow").resolve(JobRequest(prompt="a red apple", seed=1))
        self._database = database
        self._hints = hints

    def end_job(self, url: str) -> tuple[str, float]:
        """Queue a job and end it; returns its id and the time after the commit."""
        new = NewJob(self._spec, 1, Priority.NORMAL, webhook={"url": url, "events": EVENTS})
        with self._database.write() as session:
            job_id = ledger.submit(session, TENANT, [new]).changes[0].id
        with self._database.write() as session:
            changes = ledger.cancel(session, Job.id == job_id)
        moment = time.perf_counter()
        self._hints.changed(changes)
        return job_id, moment

    def latencies(self, arrivals: Arrivals, rounds: int) -> list[float]:
        """End one job after another, with pauses; returns the seconds from each commit to the arrival."""
        found: list[float] = []
        for _ in range(rounds):
            job_id, committed = self.end_job(arrivals.url)
            found.append(arrivals.wait(job_id) - committed)
            time.sleep(random.uniform(0, 0.1))  # noqa: S311 - so that no phase of the dispatcher's rounds is favoured
        return found


def quantile(samples: list[float], share: float) -> float:
    """Return the sample below which this share of all samples is."""
    return sorted(samples)[min(len(samples) - 1, int(share * len(samples)))]


@click.command()
@click.option("--quick", is_flag=True, help="Fewer rounds, under 50 s.")
def main(quick: bool) -> None:
    """Measure, and print the figures."""
    rounds = 100 if quick else 1000
    with running_stack(workers=0, webhook_internal_targets="127.0.0.1") as stack, receiver() as arrivals:
        database = Database(stack.settings.resolved_database_url)
        hints = Hints(connect(stack.redis_url))
        service = Service(database, hints)
        service.latencies(arrivals, 10)  # warm-up
        alone = service.latencies(arrivals, rounds)
        with hanging_receivers(HANGING) as urls:
            for url in urls * 3:
                service.end_job(url)
            beside = service.latencies(arrivals, rounds)
        database.dispose()
    figures = {
        f"{name}_s": summary(samples) | {"p99": round(quantile(samples, 0.99), 4)}
        for name, samples in (("alone", alone), (f"beside_{HANGING}_hanging", beside))
    }
    met = max(quantile(alone, 0.99), quantile(beside, 0.99)) < GOAL_SECONDS
    bars = {"alone": alone, f"beside {HANGING} hanging receivers": beside}
    report("webhooks", figures, f"p99 below {GOAL_SECONDS} s", met=met, bars=bars, unit="seconds")


if __name__ == "__main__":
    main()
