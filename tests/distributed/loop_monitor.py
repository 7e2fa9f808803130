"""Runs `limner serve` and reports what blocks the event loop: `python -m tests.distributed.loop_monitor serve`.

A greenlet blocks the loop if it runs or waits for LIMIT_SECONDS without a switch to another greenlet. On a busy machine
the thread also waits for a core, or for the interpreter's lock whose owner waits for a core. Linux counts the time that
each thread has waited for a core (`schedstat`), so this time is taken off. Each block is reported on standard error as
one line of JSON after MARK: its seconds, and the functions of its stack, outermost first.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Final, cast

import greenlet
from gevent import monkey
from gevent.hub import Hub

from limner_client.cli import main as command_line
from limner_web.cli import Server

LIMIT_SECONDS: Final = 0.1
SAMPLE_SECONDS: Final = 0.01
MARK: Final = "the event loop was blocked: "
TASKS: Final = Path("/proc/self/task")


class Clock:
    """Processor time and waits of the loop's thread, and of the other threads of this process, in seconds."""

    def __init__(self, thread_id: int) -> None:
        self._own = str(thread_id)
        self.now: Callable[[], float] = monkey.get_original("time", "monotonic")

    def read(self) -> tuple[float, float, float, float]:
        """The time now, the loop's processor time, its wait for a core, and the waits of all other threads."""
        moment, used, waited, others = self.now(), 0.0, 0.0, 0.0
        for task in os.listdir(TASKS):  # noqa: PTH208 - cheaper, and called a hundred times a second
            try:
                ran, queued = (TASKS / task / "schedstat").read_text().split()[:2]
            except OSError:
                continue  # this thread has ended
            if task == self._own:
                used, waited = int(ran) / 1e9, int(queued) / 1e9
            else:
                others += int(queued) / 1e9
        return moment, used, waited, others


def blocked_seconds(start: tuple[float, float, float, float], end: tuple[float, float, float, float]) -> float:
    """How long the loop's thread ran or slept between two readings, less what a busy machine explains."""
    wall, used, waited, others = (after - before for before, after in zip(start, end, strict=True))
    asleep = max(0.0, wall - used - waited)
    return used + max(0.0, asleep - others)


def functions(frame: FrameType | None) -> list[str]:
    """The functions of a stack as `file:function`, outermost first."""
    found: list[str] = []
    while frame is not None:
        found.append(f"{frame.f_code.co_filename}:{frame.f_code.co_name}")
        frame = frame.f_back
    return found[::-1]


class Monitor:
    """Watches the event loop of the thread that makes it, from another native thread."""

    def __init__(self) -> None:
        self._switches = 0
        self._in_hub = False
        self._loop: int = monkey.get_original("_thread", "get_ident")()
        self._clock = Clock(threading.get_native_id())
        greenlet.settrace(self._note)
        monkey.get_original("_thread", "start_new_thread")(self._watch, ())

    def _note(self, _event: str, switch: Any) -> None:
        self._switches += 1
        self._in_hub = isinstance(switch[1], Hub)

    def _watch(self) -> None:
        sleep = monkey.get_original("time", "sleep")
        switches, start, reported = self._switches, self._clock.read(), False
        while True:
            sleep(SAMPLE_SECONDS)
            end = self._clock.read()
            if self._switches != switches:
                switches, start, reported = self._switches, end, False
                continue
            # The hub sleeps while there is nothing to do, but its callbacks may use the processor for too long.
            seconds = end[1] - start[1] if self._in_hub else blocked_seconds(start, end)
            if seconds > LIMIT_SECONDS and not reported:
                reported = True
                frames = sys._current_frames()  # documented, despite its name
                stack = functions(frames.get(self._loop))
                os.write(2, f"{MARK}{json.dumps({'seconds': round(seconds, 3), 'functions': stack})}\n".encode())


def main() -> None:
    """Install the monitor in each web process, then run the command line."""
    load = cast("Callable[[Server], Any]", Server.load)

    def load_and_watch(self: Server) -> Any:
        application = load(self)
        Monitor()
        return application

    Server.load = load_and_watch
    command_line.main()


if __name__ == "__main__":
    main()
