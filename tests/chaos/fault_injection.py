"""A worker that kills itself at a named point: `python -m tests.chaos.fault_injection POINT COUNT worker`. `stop-POINT`
there instead, `clock SECONDS` sets its clock wrong, `poison 0` lets prompts break it, `device COUNT` breaks its device
at that step, `model 0` makes every step fail, `freeze COUNT` stops it within its write of that number, before the
commit. The same for a dispatcher, where it has the point.

The points are seams of the worker, wrapped here, so that the product has no code for its own tests.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy.orm import Session

from limner_client.cli import main as command_line
from limner_shared.db.engine import Database
from limner_shared.storage.blobs import Blobs
from limner_worker.generators.null import Null
from limner_worker.runtime.pool import EnginePool
from limner_worker.runtime.service import WorkerService
from limner_worker.stages.publishing import Publisher

POINTS: dict[str, tuple[type, str, str]] = {
    "after-pop": (EnginePool, "on_apply", "before"),
    "after-claim": (WorkerService, "_take", "before"),
    "after-blob": (Blobs, "put", "after"),
    "before-commit": (Publisher, "_write_once", "before"),
    "after-commit": (Publisher, "_write_once", "after"),
    "in-step": (Null, "step", "before"),
}


def die_at(point: str, count: int, end: Callable[[], None]) -> None:
    """Let this process end, or stop, when it comes to the point for the `count`th time."""
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
    """End this process at once."""
    os.kill(os.getpid(), signal.SIGKILL)


def between_writes() -> Callable[[], None]:
    """What stops this process while none of its threads is writing: one that is stopped with SQLite's only write lock
    in its hands, as a heartbeat may be, would stop every other writer too."""
    writing = threading.Lock()
    write = Database.write

    @contextmanager
    def one_at_a_time(self: Database) -> Iterator[Session]:
        with writing, write(self) as session:
            yield session

    def stop() -> None:
        with writing:
            # To this thread: sent to the process, the signal may find it only after its next write began.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)

    Database.write = one_at_a_time
    return stop


def freeze_in_a_write(count: int) -> None:
    """Let this process stop within its `count`th write, with whatever rows that has locked."""
    write = Database.write
    writes = 0

    @contextmanager
    def frozen(self: Database) -> Iterator[Session]:
        nonlocal writes
        with write(self) as session:
            yield session
            writes += 1
            if writes == count:
                os.kill(os.getpid(), signal.SIGSTOP)

    Database.write = frozen


def skew_clock(seconds: float) -> None:
    """Let this process believe that it is so much later; the database's clock is right."""
    right = time.time
    time.time = lambda: right() + seconds


def main() -> None:
    """Arrange the fault, and be the worker."""
    point, count = sys.argv[1], sys.argv[2]
    if point == "clock":
        skew_clock(float(count))
    elif point == "poison":
        poison()
    elif point in ("device", "model"):
        break_steps("CUDA error: device-side assert triggered" if point == "device" else "a broken library", int(count))
    elif point == "freeze":
        freeze_in_a_write(int(count))
    elif point.startswith("stop-"):
        die_at(point.removeprefix("stop-"), int(count), between_writes())
    else:
        die_at(point, int(count), kill)
    sys.argv = ["limner", *sys.argv[3:]]
    command_line.main()


def break_steps(message: str, count: int) -> None:
    """Let every step from the `count`th on raise, as a broken device or a broken library does."""
    step = Null.step
    steps = 0

    def broken(self: Null, states: Any) -> None:
        nonlocal steps
        steps += 1
        if steps >= count:
            raise RuntimeError(message)
        step(self, states)

    Null.step = broken


def poison() -> None:
    """Let prompts do what a model's bad input can do."""
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
