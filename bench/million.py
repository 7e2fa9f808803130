"""A native bulk and a batch of OpenAI's API, each of a million lines, carried to their very end; then their deletion.

    python -m bench.million [--quick] [--lines N] [--part bulk|batch] [--database postgresql|sqlite]

Each part has a service of its own with one web process, one dispatcher and one worker of the null model. Every line's
result is read: of the bulk as JSON Lines and as a ZIP archive with its pictures, of the batch as its output file. While
the lines are drawn, another client submits single jobs and waits for each. At the end the tenant's retention period is
set to nothing, and the deletion of all jobs is timed.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Final, Self

import click
import httpx
from openai import OpenAI
from sqlalchemy import func, select, update

from bench.backlog import Lines, redis_mb
from bench.batches import SMALL, Peak, complete, queue, whole_lines
from bench.common import NULL_CARD, conclude, postgres, processes, running_stack, summary
from limner_client.client import Client
from limner_client.local.stack import Stack
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.tables import Job, Tenant

Figures = dict[str, Any]
PARTS: Final = ("bulk", "batch")
ROLES: Final = ("web", "dispatcher", "worker")
GOAL_MB: Final = 100.0
"""How much memory a process may take beyond what it had after a small bulk or batch."""
SLOTS: Final = 512
QUICK: Final = 3000
PROBE_SECONDS: Final = 2.0
"""The pause between two single jobs."""
POLL_SECONDS: Final = 0.5
DAYS: Final = 1e-6
"""A retention period that has passed."""
BLOCK: Final = 1 << 20
SHOWN: Final = 40
"""Lines of the logs that are printed."""


class Probe:
    """Another client, which submits single jobs and waits for each; `seconds` are their times to the picture."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        with Client(self._url) as client:
            while not self._stop.wait(PROBE_SECONDS):
                begun = time.perf_counter()
                *_, job = client.wait(client.submit({"prompt": "a single job"}).id)
                self.seconds.append(time.perf_counter() - begun)
                if job.status != "succeeded":
                    self.failures.append(job.id)

    def figures(self) -> Figures:
        """Return how many there were, the times to the picture and the longest one."""
        if self.failures:
            raise SystemExit(f"single jobs failed: {self.failures}")
        if not self.seconds:
            return {}
        return {
            "single_jobs": len(self.seconds),
            "single_job_s": summary(self.seconds)["median"],
            "longest_single_job_s": round(max(self.seconds), 2),
        }


def bulk(stack: Stack, lines: int) -> Figures:
    """Submit a bulk, wait for its end and read every result."""
    with Client(stack.url) as client:
        begun = time.perf_counter()
        bulk_id = client.submit_bulk(Lines(lines)).id
        queued = time.perf_counter()
        with Probe(stack.url) as probe:
            while (found := client.bulk(bulk_id)).status not in ("done", "canceled"):
                time.sleep(POLL_SECONDS)
        drawn = time.perf_counter()
        if found.status != "done" or found.counts["succeeded"] != lines:
            raise SystemExit(f"the bulk was not completed: {found}")
    figures: Figures = {
        "queued_s": round(queued - begun, 1),
        "drawn_s": round(drawn - queued, 1),
        "jobs_per_s": round(lines / (drawn - queued)),
    }
    click.echo(json.dumps(figures), err=True)
    address = f"{stack.url}/api/v1/bulks/{bulk_id}/results"
    read_results(address, lines)
    read = time.perf_counter()
    figures |= {"results_s": round(read - drawn, 1), "zip_mb": archive(address, lines)}
    return figures | {"zip_s": round(time.perf_counter() - read, 1)} | probe.figures()


def read_results(url: str, lines: int) -> None:
    """Read the results as JSON Lines and check each."""
    number = 0
    with httpx.stream("GET", url, timeout=600, trust_env=False) as answer:
        answer.raise_for_status()
        for number, line in enumerate(whole_lines(answer.iter_bytes(BLOCK)), 1):
            job: Any = json.loads(line)
            if (job["status"], job["seed"], len(job["images"])) != ("succeeded", number - 1, 1):
                raise SystemExit(f"line {number} has another result: {line!r}")
    if number != lines:
        raise SystemExit(f"the results have {number} lines")


def archive(url: str, lines: int) -> float:
    """Download the ZIP archive and check its entries; returns its size in MB."""
    with tempfile.TemporaryFile() as file:
        with httpx.stream("GET", url, params={"format": "zip"}, timeout=600, trust_env=False) as answer:
            answer.raise_for_status()
            for block in answer.iter_bytes(BLOCK):
                file.write(block)
        size = file.tell()
        _check_archive(file, lines)
        return round(size / 1e6, 1)


def _check_archive(file: IO[bytes], lines: int) -> None:
    with zipfile.ZipFile(file) as found:
        names = set(found.namelist())
        if names != {"bulk.json", "results.jsonl", *(f"{number:07d}.png" for number in range(1, lines + 1))}:
            raise SystemExit(f"the archive has {len(names)} entries")
        with found.open("results.jsonl") as results:
            counted = sum(1 for _ in results)
        for number in (1, lines // 2, lines):
            if not found.read(f"{number:07d}.png").startswith(b"\x89PNG"):
                raise SystemExit(f"the archive has no picture of line {number}")
    if counted != lines:
        raise SystemExit(f"the archive's results have {counted} lines")


def batch(stack: Stack, lines: int) -> Figures:
    """Upload a batch, wait for its end and read every answer."""
    client = OpenAI(base_url=f"{stack.url}/v1", api_key="none", timeout=1800)
    batch_id, figures = queue(client, lines)
    click.echo(json.dumps(figures), err=True)
    with Probe(stack.url) as probe:
        figures |= complete(client, batch_id, lines)
    return {**figures, "jobs_per_s": round(lines / max(figures["drawn_s"], 0.1))} | probe.figures()


def forget(stack: Stack) -> Figures:
    """Let the retention period of all jobs pass; returns the rate of their deletion."""
    database = Database(stack.settings.resolved_database_url)
    with database.write() as session:
        session.execute(update(Tenant).where(Tenant.id == ledger.LOCAL_TENANT).values(keep_jobs_days=DAYS))
    total = before = _jobs(database)
    begun = ended = time.perf_counter()
    while left := _jobs(database):
        if left == total:
            begun = time.perf_counter()  # the dispatcher looks once a minute
        if left != before:
            before, ended = left, time.perf_counter()
        elif time.perf_counter() - ended > 120:
            raise SystemExit(f"{left} jobs are not deleted")
        time.sleep(POLL_SECONDS)
    database.dispose()
    return {"deleted": total, "deleted_per_s": round(total / (time.perf_counter() - begun))}


def _jobs(database: Database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Job)) or 0


def logged(folder: Path) -> list[str]:
    """Return the lines of the processes' logs, which hold warnings and errors only."""
    return [f"{file.stem}: {line}" for file in sorted(folder.glob("*")) for line in file.read_text().splitlines()]


@contextmanager
def service(kind: str, lines: int) -> Iterator[Stack]:
    """Start a service of its own on a database of this kind."""
    settings: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning"}
    with ExitStack() as open_:
        if kind == "postgresql":
            settings["database_url"] = open_.enter_context(postgres())
        stack = running_stack(max_bulk_lines=max(lines, SMALL), web_workers=1, slots=SLOTS, **settings)
        yield open_.enter_context(stack)


def measure(part: str, kind: str, lines: int) -> Figures:
    """Return the figures of one part; every line was read."""
    carry = {"bulk": bulk, "batch": batch}[part]
    with service(kind, lines) as stack:
        peaks = dict(zip(ROLES, map(Peak, processes(stack)), strict=True))
        carry(stack, SMALL)
        small = {name: peak.reset() for name, peak in peaks.items()}
        figures = carry(stack, lines)
        figures["redis_mb"] = round(redis_mb(stack), 1)
        click.echo(json.dumps(figures), err=True)
        figures |= forget(stack)
        for name, peak in peaks.items():
            figures |= {f"{name}_mb_small": round(small[name], 1), f"{name}_mb": round(peak.reset(), 1)}
        told = logged(stack.settings.data_dir / "logs")
        figures["warnings"] = len(told)
    click.echo("\n".join(told[:SHOWN]), err=True)
    return figures


@click.command()
@click.option("--quick", is_flag=True, help=f"{QUICK} lines.")
@click.option("--lines", default=1_000_000, show_default=True, help="Lines of the bulk and of the batch.")
@click.option("--part", "parts", type=click.Choice(PARTS), multiple=True, default=PARTS, show_default=True)
@click.option("--database", "kind", type=click.Choice(["postgresql", "sqlite"]), default="postgresql")
def main(*, quick: bool, lines: int, parts: tuple[str, ...], kind: str) -> None:
    """Measure, and print the figures."""
    lines = QUICK if quick else lines
    figures: Figures = {"lines": lines, "database": kind}
    for part in parts:
        figures[part] = measure(part, kind, lines)
        click.echo(json.dumps({part: figures[part]}), err=True)
    grown = max(figures[part][f"{name}_mb"] - figures[part][f"{name}_mb_small"] for part in parts for name in ROLES)
    goal = f"every line has its result; each process: at most {GOAL_MB:.0f} MB more"
    conclude("million", figures, goal, met=grown < GOAL_MB)


if __name__ == "__main__":
    main()
