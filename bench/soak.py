"""Mixed load for an hour: memory, threads, latency and stored pictures must not change with time.

    python -m bench.soak [--minutes 60]

The service with PostgreSQL, two web processes and one worker of the null model. Clients submit single jobs and wait for
them, bulks that are paused and resumed, and conversations; a fifth of the jobs and bulks is canceled. Others follow the
event stream. Retention deletes what is older than two minutes. Clients pause between what they do, as people do:
clients without pauses saturate the machine, and latency then shows its load rather than a change of the service.

A window is a sixth of the time. Memory of the last window is compared with that of the second, by when caches are full
and the first deletions have run; latency of the last window with that of the first. So are the fewest threads, because
those of pools come and go. At the end, the picture store is compared with the tables: a picture that is neither an
image nor marked for deletion is left to the sweep, as is that of a job that was canceled at its last step. The sweep
takes four hours for the whole store; here it looks at once.
"""

from __future__ import annotations

import time
from collections import defaultdict
from contextlib import ExitStack
from statistics import median, quantiles
from typing import Any, Final

import click
import psutil
from sqlalchemy import func, select

from bench.common import NULL_CARD, postgres, report, running_stack
from bench.soak_load import Figures, Load
from limner_client.local.stack import Stack
from limner_dispatcher.blob_sweep import BlobSweep
from limner_shared.db import ledger
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database
from limner_shared.db.tables import Garbage, Image, Job
from limner_shared.domain.jobs import JobState
from limner_shared.storage.blobs import FOLDERS, Blobs

KEPT_DAYS: Final = 120 / 86_400
SAMPLE_SECONDS: Final = 2.0
WINDOWS: Final = 6
GROWTH, SLOWER = 1.02, 1.3
KINDS: Final = {"serve": "web", "worker": "worker", "dispatcher": "dispatcher"}
"""The processes that are watched, by the command that each runs."""


def sample(figures: Figures) -> None:
    """Note the memory and the threads of the service's processes."""
    memory: dict[str, float] = defaultdict(float)
    threads: dict[str, int] = defaultdict(int)
    for process in psutil.Process().children(recursive=True):
        try:
            kinds = [KINDS[word] for word in process.cmdline() if word in KINDS]
            if kinds:
                used = process.memory_info()
                memory[kinds[0]] += (used.rss - used.shared) / 1e6
                threads[kinds[0]] += process.num_threads()
        except psutil.NoSuchProcess:
            continue
    for kind, megabytes in memory.items():
        figures.memory[kind].append((figures.at, megabytes))
        figures.threads[kind].append((figures.at, threads[kind]))


def windows(samples: list[tuple[float, float]], seconds: float) -> list[list[float]]:
    """Return the values of each window."""
    found: list[list[float]] = [[] for _ in range(WINDOWS)]
    for at, value in samples:
        found[min(WINDOWS - 1, int(at / seconds * WINDOWS))].append(value)
    return found


def p99(values: list[float]) -> float:
    """Return the 99th percentile."""
    return quantiles(values, n=100)[-1]


def unreferenced(stack: Stack) -> tuple[int, int]:
    """Return the number of stored pictures that no row names, neither as an image nor as garbage: before the sweep has
    looked at them, and after. Those that are set aside are not among them: they are found garbage, deleted soon.
    """
    blobs, database = Blobs(stack.settings.resolved_blob_url), Database(stack.settings.resolved_database_url)
    before = _unnamed(blobs, database)
    sweep = BlobSweep(database, blobs, young_seconds=-1)
    for _ in FOLDERS:
        sweep.mark_unreferenced()
    after = _unnamed(blobs, database)
    database.dispose()
    return before, after


def _unnamed(blobs: Blobs, database: Database) -> int:
    stored = {digest for folder in FOLDERS for page in blobs.stored(folder, -1) for digest in page}
    with database.read() as session:
        named = set(session.scalars(select(Image.sha256))) | set(session.scalars(select(Garbage.sha256)))
    return len(stored - named)


def settle(stack: Stack) -> None:
    """Wait until no job is queued or running."""
    database = Database(stack.settings.resolved_database_url)
    live = select(func.count()).where(Job.state.in_((JobState.QUEUED, JobState.RUNNING)))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        with database.read() as session:
            if not session.scalar(live):
                break
        time.sleep(0.5)
    else:
        raise SystemExit("jobs are left that do not end")
    database.dispose()


def run(minutes: float) -> tuple[Figures, tuple[int, int]]:
    """Run the load; returns the figures and the numbers of unreferenced pictures."""
    with ExitStack() as open_:
        url = open_.enter_context(postgres())
        changes: dict[str, Any] = {"models": (NULL_CARD,), "default_model": "null", "log_level": "warning"}
        stack = open_.enter_context(running_stack(database_url=url, **changes))
        database = Database(stack.settings.resolved_database_url)
        with database.write() as session:
            days: dict[str, float | None] = {f"keep_{what}_days": KEPT_DAYS for what in ("images", "prompts", "jobs")}
            tenants.change_tenant(session, ledger.LOCAL_NAME, days)
        database.dispose()
        figures = Figures()
        load = Load(stack.url, figures)
        load.start()
        while figures.at < 60 * minutes:
            time.sleep(SAMPLE_SECONDS)
            stack.restart_dead()
            sample(figures)
        load.stop()
        settle(stack)
        return figures, unreferenced(stack)


@click.command()
@click.option("--minutes", default=60.0, show_default=True)
@click.option("--quick", is_flag=True, help="Under 50 s: too short to show growth.")
def main(minutes: float, quick: bool) -> None:
    """Measure, and print the figures."""
    minutes = 0.5 if quick else minutes
    figures, lost = run(minutes)
    seconds = 60 * minutes
    memory = {
        kind: [round(median(each), 1) for each in windows(of, seconds) if each] for kind, of in figures.memory.items()
    }
    threads = {
        kind: [int(min(each)) for each in windows([(at, float(count)) for at, count in of], seconds) if each]
        for kind, of in figures.threads.items()
    }
    latency = [round(p99(each), 1) for each in windows(figures.latencies, seconds)]
    growth = {kind: round(each[-1] / each[1], 3) for kind, each in memory.items()}
    slower = round(latency[-1] / latency[0], 2)
    found: dict[str, Any] = {
        "minutes": minutes,
        "jobs": figures.jobs,
        "errors": figures.errors[:5],
        "memory_mb_by_window": memory,
        "memory_growth": growth,
        "fewest_threads_by_window": threads,
        "p99_ms_by_window": latency,
        "p99_ratio": slower,
        "pictures_left_to_the_sweep": lost[0],
        "unreferenced_pictures": lost[1],
    }
    kept = all(each[0] <= each[-1] for each in threads.values()) and not lost[1] and not figures.errors
    met = kept and max(growth.values()) <= GROWTH and slower <= SLOWER
    goal = f"memory at most {GROWTH} x and p99 at most {SLOWER} x, no thread lost, no unreferenced picture"
    bars = {f"window {number + 1}": each for number, each in enumerate(windows(figures.latencies, seconds))}
    report("soak", found, goal, met=met, bars=bars, unit="milliseconds from submission to the picture")


if __name__ == "__main__":
    main()
