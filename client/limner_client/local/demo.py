"""`limner demo`: start a service, generate forty images over HTTP, report times and cost, stop and clean up."""

from __future__ import annotations

import io
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from limner_client.client import Client
from limner_client.local.contact_sheet import Tile, contact_sheet
from limner_client.local.embedded_valkey import free_port
from limner_client.local.signals import stop_on_signals
from limner_client.local.stack import SUPERVISOR, Stack, lock_data_dir
from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import BulkView, JobView
from limner_shared.errors import ConfigurationError, GenerationFailed
from limner_shared.settings import Settings

STYLES: Final = ("3d", "noto", "flat", "noto-v1")
SINGLE_PROMPTS: Final = (
    "a red apple",
    "a happy cat face",
    "rocket",
    "a slice of pizza",
    "smiling face with sunglasses",
    "a cute dog",
    "sunflower",
    "a birthday cake",
)
BULK_PROMPTS: Final = (
    "red apple",
    "cat face",
    "rocket",
    "pizza",
    "smiling face with sunglasses",
    "cute dog",
    "sunflower",
    "slice of watermelon",
    "blue car",
    "guitar",
    "castle",
    "ghost",
    "octopus",
    "house with garden",
    "crown",
    "birthday cake",
)
INTERRUPTED: Final = 130
POLL_SECONDS: Final = 0.25
MARK: Final = ".limner-demo"
"""The file by which a folder of the demo is known."""
PLAIN_SECONDS: Final = 2.0
OF_THE_MACHINE: Final = frozenset({"CACHE_DIR", "DEVICE", "THREADS", "LOG_LEVEL", "LOG_FORMAT"})
"""The only settings that the demo inherits: any other may be of the user's own service, its database for example."""


@dataclass
class Run:
    """The jobs of the demo, and the monotonic times from which durations are computed."""

    began: float
    submitted: float = 0.0
    first_picture: float | None = None
    ended: float = 0.0
    singles: list[JobView] = field(default_factory=list[JobView])
    bulk: BulkView | None = None

    def done(self) -> tuple[int, int]:
        """Return how many single jobs and how many jobs of the bulk have ended."""
        return sum(job.status.terminal for job in self.singles), self.bulk.ended if self.bulk else 0


def run_demo(output: Path, workers: int) -> int:
    """Run the demo; returns the exit code. The log of each process is kept in `output`/logs."""
    console = Console(highlight=False)
    run = Run(time.monotonic())
    _take_folder(output)
    with lock_data_dir(output):
        data = output / ".data"
        shutil.rmtree(data, ignore_errors=True)
        stack = _stack(console, output, data, workers)
        try:
            with stop_on_signals(stack):
                try:
                    console.print("Starting Valkey, database, web, dispatcher and workers …")
                    stack.start()
                    files = [] if stack.stopping else _generate(console, stack, output, run)
                finally:
                    stack.stop()
        finally:
            shutil.rmtree(data, ignore_errors=True)
        if stack.stopping:
            console.print("Stopped.")
            return INTERRUPTED
    _report(console, run, files, output)
    return 0


def _take_folder(output: Path) -> None:
    """Make the folder, or take that of an earlier demo, whose pictures and logs are replaced. Raises ConfigurationError
    for another one that is not empty: it may hold files of the same names.
    """
    mark = output / MARK
    try:
        output.mkdir(parents=True, exist_ok=True)
        if any(output.iterdir()) and not mark.exists():
            raise ConfigurationError(f"{output} is not empty, and not of an earlier demo: choose another folder.")
        mark.touch()
    except OSError as error:
        raise ConfigurationError(f"{output} cannot be used as the demo's folder: {error.strerror}.") from error


def _stack(console: Console, output: Path, data: Path, workers: int) -> Stack:
    remove_other_settings(os.environ)
    settings = Settings(data_dir=data, port=free_port(), web_workers=1, shutdown_seconds=2)
    logs = output / "logs"
    shutil.rmtree(logs, ignore_errors=True)
    for old in (*output.glob("single-*.png"), *output.glob("bulk-*.png")):
        old.unlink()

    def tell(name: str, line: str) -> None:
        if name == SUPERVISOR:  # the output of the processes is in their logs
            console.print(line)

    return Stack(settings, workers=workers, log_dir=logs, tell=tell)


def remove_other_settings(variables: MutableMapping[str, str]) -> None:
    """Remove all variables of settings but those of the machine."""
    for name in [name for name in variables if name.startswith("LIMNER_")]:
        if name.removeprefix("LIMNER_") not in OF_THE_MACHINE:
            del variables[name]


def requests() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the 8 single requests and the 32 of the bulk: each of 16 prompts in two styles, with fixed seeds."""
    singles = [
        {"prompt": prompt, "style": STYLES[index % len(STYLES)], "seed": index}
        for index, prompt in enumerate(SINGLE_PROMPTS)
    ]
    bulk = [
        {"prompt": prompt, "style": STYLES[(index + 2 * turn) % len(STYLES)], "seed": 100 + 16 * turn + index}
        for index, prompt in enumerate(BULK_PROMPTS)
        for turn in range(2)
    ]
    return singles, bulk


def _generate(console: Console, stack: Stack, output: Path, run: Run) -> list[Path]:
    singles, bulk = requests()
    console.print(f"Ready after {time.monotonic() - run.began:.1f} s; submitting to {stack.url}")
    with Client(stack.url) as client:
        run.submitted = time.monotonic()
        run.singles = [client.submit(request) for request in singles]
        run.bulk = client.submit_bulk(io.BytesIO("".join(json.dumps(line) + "\n" for line in bulk).encode()))
        _follow(console, stack, client, run)
        if stack.stopping:
            return []
        jobs = [*run.singles, *client.bulk_results(run.bulk.id)]
        failed = [job for job in jobs if job.status is not JobState.SUCCEEDED]
        if failed:
            reason = failed[0].error.message if failed[0].error else "canceled"
            raise GenerationFailed(
                f"{len(failed)} jobs failed; the first error: {reason} The logs are in {output}/logs."
            )
        return _write(client, jobs, len(singles), output)


def _follow(console: Console, stack: Stack, client: Client, run: Run) -> None:
    columns = (TextColumn("{task.description:>8}"), BarColumn(40), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        tasks = [
            bars.add_task("singles", total=len(SINGLE_PROMPTS)),
            bars.add_task("bulk", total=2 * len(BULK_PROMPTS)),
        ]
        printed_at = 0.0
        while not stack.stopping:
            _look(client, run)
            printed_at = _show(console, bars, tasks, run, printed_at)
            if sum(run.done()) == len(SINGLE_PROMPTS) + 2 * len(BULK_PROMPTS):
                return
            stack.restart_dead()
            time.sleep(POLL_SECONDS)


def _look(client: Client, run: Run) -> None:
    run.singles = [job if job.status.terminal else client.job(job.id) for job in run.singles]
    if run.bulk is not None:
        run.bulk = client.bulk(run.bulk.id)
    run.ended = time.monotonic()
    if run.first_picture is None and any(run.done()):
        run.first_picture = run.ended


def _show(console: Console, bars: Progress, tasks: Sequence[TaskID], run: Run, printed_at: float) -> float:
    """Update the progress bars, or print a line every few seconds; returns the time of the last line."""
    for task, count in zip(tasks, run.done(), strict=True):
        bars.update(task, completed=count)
    one, many = run.done()
    complete = one + many == len(SINGLE_PROMPTS) + 2 * len(BULK_PROMPTS)
    if console.is_terminal or (run.ended - printed_at < PLAIN_SECONDS and not complete):
        return printed_at
    console.print(
        f"{run.ended - run.submitted:5.1f} s  singles {one}/{len(SINGLE_PROMPTS)}  bulk {many}/{2 * len(BULK_PROMPTS)}"
    )
    return run.ended


def _write(client: Client, jobs: Sequence[JobView], singles: int, output: Path) -> list[Path]:
    tiles: list[Tile] = []
    files: list[Path] = []
    for index, job in enumerate(jobs):
        data = client.download(job.images[0])
        kind = f"single-{index + 1:02}" if index < singles else f"bulk-{index + 1 - singles:02}"
        file = output / f"{kind}-{'-'.join(job.prompt.lower().split())}-{job.style}.png"
        file.write_bytes(data)
        files.append(file)
        tiles.append(Tile(data, job.prompt, f"{job.style or 'no style'}  ·  seed {job.seed}"))
    subtitle = f"{len(jobs)} prompts, {len(jobs)} images  ·  {jobs[0].model}  ·  {jobs[0].steps} steps"
    sheet = output / "contact-sheet.png"
    contact_sheet(tiles, "Limner", subtitle).save(sheet)
    return [*files, sheet]


def _report(console: Console, run: Run, files: Sequence[Path], output: Path) -> None:
    pictures = len(files) - 1
    seconds = run.ended - run.submitted
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    cpu = sum(one.ru_utime + one.ru_stime for one in usage)
    first = (run.first_picture or run.ended) - run.submitted
    console.print(f"\n{pictures} images and {output}/contact-sheet.png")
    console.print(f"  service ready after    {run.submitted - run.began:6.1f} s")
    console.print(f"  first image after      {first:6.1f} s")
    console.print(f"  all images after       {seconds:6.1f} s  ({pictures / seconds:.2f} images/s)")
    console.print(f"  processor time         {cpu:6.1f} s  ({cpu / pictures:.2f} s an image, startup included)")
    console.print(f"  total                  {time.monotonic() - run.began:6.1f} s")
    console.print("The service is stopped. To run it with its web page: limner up")
    sys.stdout.flush()
