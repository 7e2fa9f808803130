"""The processes that faults are aimed at, and those that ended although no fault explains it.

A supervisor starts a dead process again, and so does `World.restart_dead`: without this record, one
that ends of a lost connection or of garbage on a channel would not be noticed.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

REFUSED_TO_START: Final = (1, 2, 3)
"""The exit codes of a process that cannot begin: a command's error, and gunicorn's if no web worker starts."""
START_SECONDS: Final = 60.0
"""How old such a process may be, on a busy machine."""
DATABASE_AWAY: Final = frozenset(
    {
        "cut_database_connections",
        "crash_database",
        "lock_database",
        "outage_longer_than_a_lease",
        "freeze_database",
        "fill_database_disk",
        "cut_one_direction",
    }
)
"""The faults during which a process may not be able to start: each checks the database's schema first."""
WEB_WORKER: Final = re.compile(r"Worker \(pid:(\d+)\) (exited with code \d+|was sent \w+)")


@dataclass(frozen=True, slots=True)
class Target:
    """A process that a fault is aimed at."""

    name: str
    pid: int

    def send(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


@dataclass(frozen=True, slots=True)
class End:
    """The end of a process that no fault was aimed at: its exit code, or minus a signal's number, and its age."""

    name: str
    code: int
    seconds: float


def unexpected_ends(ends: Collection[End], faults: Collection[str]) -> list[str]:
    """A sentence for each end that none of a round's faults allows; a fault's name is the first word of its entry."""
    cannot_start = not DATABASE_AWAY.isdisjoint(fault.partition(" ")[0] for fault in faults)
    return [
        f"{end.name} ended by itself with {end.code} after {end.seconds:.0f} s"
        for end in ends
        if not (cannot_start and end.code in REFUSED_TO_START and end.seconds < START_SECONDS)
    ]


def unexpected_ends_of_web_workers(log: str, harmed: Collection[int]) -> Iterator[str]:
    """What gunicorn says of each web worker that ended, except those that a fault was aimed at."""
    for pid, how in WEB_WORKER.findall(log):
        if int(pid) not in harmed:
            yield f"web worker {pid} {how}"


def web_workers(server: int) -> list[int]:
    """The processes that serve the requests of a web server; none while it starts.

    It has another child before it listens: the one that checks whether database and Redis can be used.
    """
    with suppress(psutil.Error):
        process = psutil.Process(server)
        if any(each.status == psutil.CONN_LISTEN for each in process.net_connections("tcp")):
            return [child.pid for child in process.children()]
    return []


def read_from(file: Path, position: int) -> tuple[str, int]:
    """The text of a log behind a position, and the position of its end."""
    with file.open("rb") as log:
        log.seek(position)
        data = log.read()
    return data.decode(errors="replace"), position + len(data)
