"""Runs a process with an injected fault: `python -m tests.chaos.fault_injection FAULT COUNT worker|dispatcher`.

FAULT is one of:

- a name in POINTS: the process kills itself when it reaches that point for the COUNTth time;
- `stop-POINT`: it stops there instead;
- `clock`: its clock is ahead by COUNT seconds;
- `poison`: certain prompts break the worker (COUNT is not used);
- `device`: the device fails from step COUNT on;
- `model`: every step from COUNT on fails;
- `memory`: the device has no memory for the first COUNT steps of single rows;
- `files`: the first COUNT steps of single rows cannot read a file of the model;
- `freeze`: it stops within its COUNTth write, before the commit;
- `thread`: a thread of the worker, which no job concerns, fails once the file COUNT exists.

The points are methods of the worker that are wrapped here, so that the product contains no code for its own tests.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from limner_client.cli import main as command_line
from limner_shared.db.engine import Database
from limner_worker.generators.null import Null
from limner_worker.runtime.pool import EnginePool
from limner_worker.runtime.service import WorkerService
from limner_worker.stages.publishing import Publisher
from limner_worker.stages.storing import PictureStorage
from tests.chaos.freezing import freeze_in_a_write

POINTS: dict[str, tuple[type, str, str]] = {
    "after-pop": (EnginePool, "on_apply", "before"),
    "after-claim": (WorkerService, "_start_attempts", "before"),
    "after-blob": (PictureStorage, "_put", "after"),
    "before-commit": (Publisher, "_write_once", "before"),
    "after-commit": (Publisher, "_write_once", "after"),
    "in-step": (Null, "step", "before"),
}


def die_at(point: str, count: int, end: Callable[[], None]) -> None:
    """Call `end` when this process reaches the point for the `count`th time."""
    owner, name, when = POINTS[point]
    original: Callable[..., Any] = getattr(owner, name)
    passed = 0

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        nonlocal passed
        passed += 1
        if passed == count and when == "before":
            end()
        result = original(*args, **kwargs)
        if passed == count and when == "after":
            end()
        return result

    setattr(owner, name, wrapped)


def kill() -> None:
    """Kill this process."""
    os.kill(os.getpid(), signal.SIGKILL)


def make_stop_between_writes() -> Callable[[], None]:
    """Return a function that stops this process while none of its threads writes: a thread stopped while it holds
    SQLite's only write lock, for example a heartbeat, would block all other writers too."""
    writing = threading.Lock()
    write = Database.write

    @contextmanager
    def one_at_a_time(self: Database) -> Iterator[Session]:
        with writing, write(self) as session:
            yield session

    def stop() -> None:
        with writing:
            # The signal goes to this thread: sent to the process, it could arrive after the next write began.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    Database.write = one_at_a_time
    return stop


def skew_clock(seconds: float) -> None:
    """Set this process's clock ahead by `seconds`; the database's clock stays correct."""
    right = time.time
    time.time = lambda: right() + seconds


def main() -> None:
    """Install the fault, then run the command line."""
    point, count = sys.argv[1], sys.argv[2]
    if point == "clock":
        skew_clock(float(count))
    elif point == "poison":
        poison()
    elif point in ("device", "model"):
        break_steps("CUDA error: device-side assert triggered" if point == "device" else "a broken library", int(count))
    elif point in ("memory", "files"):
        full, unreadable = RuntimeError("CUDA out of memory."), OSError(errno.EIO, "Input/output error")
        fail_first(full if point == "memory" else unreadable, int(count))
    elif point == "freeze":
        freeze_in_a_write(int(count))
    elif point == "thread":
        fail_a_thread(Path(count))
    elif point.startswith("stop-"):
        die_at(point.removeprefix("stop-"), int(count), make_stop_between_writes())
    else:
        die_at(point, int(count), kill)
    sys.argv = ["limner", *sys.argv[3:]]
    command_line.main()


def break_steps(message: str, count: int) -> None:
    """Make every step from the `count`th on raise an error, as a broken device or library does."""
    step = Null.step
    steps = 0

    def broken(self: Null, states: Any) -> None:
        nonlocal steps
        steps += 1
        if steps >= count:
            raise RuntimeError(message)
        step(self, states)

    Null.step = broken


def fail_first(error: Exception, count: int) -> None:
    """Make the first `count` steps of single rows raise an error, and every step of several rows before that."""
    step = Null.step
    failed = 0

    def failing(self: Null, states: Any) -> None:
        nonlocal failed
        if failed < count:
            failed += len(states) == 1
            raise error
        step(self, states)

    Null.step = failing


def fail_a_thread(file: Path) -> None:
    """Start a thread with those of the worker that raises an error once a file exists."""
    start = WorkerService.start

    def fail() -> None:
        while not file.exists():
            time.sleep(0.05)
        raise RuntimeError("a fault of ours")

    def started(self: WorkerService) -> None:
        start(self)
        self._supervisor.start("faulty", fail)

    WorkerService.start = started


def poison() -> None:
    """Make the null model exit, hang or raise for certain prompts, as with bad input of a real model."""
    step = Null.step

    def poisoned(self: Null, states: Any) -> None:
        for state in states:
            if state.task.spec.prompt == "poison: exits":
                os._exit(139)
            if state.task.spec.prompt == "poison: hangs":
                threading.Event().wait()
            if state.task.spec.prompt == "poison: raises":
                raise RuntimeError("this input breaks the model")
        step(self, states)

    Null.step = poisoned


if __name__ == "__main__":
    main()
