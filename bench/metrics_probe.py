"""Runs a module and counts the calls of its metrics: `python -m bench.metrics_probe FOLDER MODULE ARGUMENT …`.

FOLDER receives a file for each process, its forked children included, with two numbers: the calls that record one
value, and the values that are recorded many at a time. A clock in each call would cost more than the call.
"""

from __future__ import annotations

import mmap
import os
import runpy
import sys
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Any, Final

from limner_shared.metrics.instruments import Counter, Gauge, Histogram

CALLS, VALUES = range(2)
SINGLE: Final = ((Counter, "inc"), (Gauge, "set"), (Gauge, "inc"), (Histogram, "observe"))
BATCHED: Final = ((Counter, "inc_each"), (Histogram, "observe_each"))
SIZE: Final = 16


class Counts:
    """The counts of this process, in a file that others may read at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open()
        os.register_at_fork(after_in_child=self._open)

    def _open(self) -> None:
        path = self._folder / str(os.getpid())
        path.write_bytes(bytes(SIZE))
        with path.open("r+b") as file:
            self._counts = memoryview(mmap.mmap(file.fileno(), SIZE)).cast("d")

    def calls(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return the method with its calls counted."""

        @wraps(method)
        def call(*arguments: Any, **labels: str) -> None:
            self._counts[CALLS] += 1
            method(*arguments, **labels)

        return call

    def values(self, method: Callable[..., None]) -> Callable[..., None]:
        """Return the method with a call, and the values of the call, counted."""

        @wraps(method)
        def call(metric: Any, values: Iterable[Any]) -> None:
            known = list(values)
            self._counts[CALLS] += 1
            self._counts[VALUES] += len(known)
            method(metric, known)

        return call


def read(folder: Path) -> tuple[float, float]:
    """Return the calls of all processes, and the values that were recorded many at a time."""
    counts = [memoryview(path.read_bytes()).cast("d") for path in folder.iterdir()]
    return sum(each[CALLS] for each in counts), sum(each[VALUES] for each in counts)


def main() -> None:
    """Count the metrics' calls, and run the module."""
    counts = Counts(Path(sys.argv[1]))
    for kind, name in SINGLE:
        setattr(kind, name, counts.calls(getattr(kind, name)))
    for kind, name in BATCHED:
        setattr(kind, name, counts.values(getattr(kind, name)))
    del sys.argv[:2]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
