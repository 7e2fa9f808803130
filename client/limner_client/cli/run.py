"""`limner up` and `limner demo`: run the whole service on this machine."""

from __future__ import annotations

import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from limner_client.local.autoscaler import COOLDOWN_SECONDS, TARGET_SECONDS, Autoscaler
from limner_client.local.signals import stop_on_signals
from limner_client.local.stack import SUPERVISOR, Stack, lock_data_dir
from limner_client.local.worker_scaling import ScalingRules
from limner_shared.settings import Settings

COLOURS: Final = {
    SUPERVISOR: "bold white",
    "web": "cyan",
    "dispatcher": "yellow",
    "worker": "green",
    "worker-1": "green",
    "worker-2": "magenta",
    "worker-3": "blue",
}
MINIMUM_FREE_BYTES: Final = 200 << 20
MOST_WORKERS: Final = 64


class WorkersType(click.ParamType[ScalingRules]):
    """A number of workers, or the least and the most: `0-4`."""

    name = "number|least-most"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> ScalingRules:
        """Read the value; an invalid one is a usage error."""
        least, dash, most = str(value).partition("-")
        if not (least.isdecimal() and (not dash or most.isdecimal())):
            self.fail("give a number such as 2, or the least and the most such as 0-4", param, ctx)
        limits = int(least), int(most or least)
        if not 0 <= limits[0] <= limits[1] <= MOST_WORKERS or limits[1] == 0:
            self.fail(f"give numbers up to {MOST_WORKERS}, the lower one first, and at least one worker", param, ctx)
        return ScalingRules(*limits, TARGET_SECONDS, COOLDOWN_SECONDS)


@click.command()
@click.option(
    "--workers",
    "rules",
    type=WorkersType(),
    default="1",
    show_default=True,
    help="Number of worker processes, or the least and the most, such as 0-4: they start and stop with the work.",
)
def up(rules: ScalingRules) -> None:
    """Start Valkey, web, dispatcher and workers on this machine, and keep them running until Ctrl-C.

    All state is kept in LIMNER_DATA_DIR and used again at the next start. LIMNER_REDIS_URL, LIMNER_DATABASE_URL and
    LIMNER_BLOB_URL replace the embedded Valkey, SQLite database and image folder.
    """
    settings = Settings()
    printer = Printer(Console(stderr=False, highlight=False, soft_wrap=True))
    with lock_data_dir(settings.data_dir):
        stack = Stack(settings, workers=rules.least, log_dir=settings.data_dir / "logs", tell=printer.tell)
        stack.ensure_space(MINIMUM_FREE_BYTES)
        with stop_on_signals(stack):
            try:
                printer.tell(SUPERVISOR, f"starting in {settings.data_dir.absolute()}")
                stack.start()
                if not stack.stopping:
                    printer.tell(SUPERVISOR, f"ready: open {stack.url} (Ctrl-C stops)")
                if rules.least == rules.most:
                    stack.watch()
                else:
                    with closing(Autoscaler(stack, rules)) as autoscaler:
                        stack.watch(autoscaler.adjust)
            finally:
                printer.tell(SUPERVISOR, "stopping")
                stack.stop()
                printer.tell(SUPERVISOR, "stopped")


@click.command()
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("demo"))
@click.option("--workers", type=click.IntRange(1), default=2, show_default=True, help="Number of worker processes.")
def demo(output: Path, workers: int) -> None:
    """Start a new service, submit 8 jobs and a bulk of 32, write the images, print times and cost, stop the service."""
    from limner_client.local.demo import run_demo  # noqa: PLC0415 - `limner up` does not need its imports

    sys.exit(run_demo(output, workers))


class Printer:
    """Prints one line at a time, prefixed with the coloured name of the process that wrote it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._lock = threading.Lock()

    def tell(self, name: str, line: str) -> None:
        """Print one line of the process `name`."""
        text = Text(f"{name:>10} ", style=COLOURS.get(name, "green")).append(Text.from_ansi(line, style="default"))
        with self._lock, suppress(OSError):  # a full disk, where the output goes to a file, must not end the service
            self._console.print(text)
