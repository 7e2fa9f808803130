"""A process that gets no further memory or files from the system."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil


@contextmanager
def nothing_more(pid: int, what: str) -> Iterator[None]:
    """Let a running process have no more `memory`, which also new threads need, or no more `files` than it has now.

    Raises ProcessLookupError or psutil.NoSuchProcess if the process does not exist.
    """
    process = psutil.Process(pid)
    if what == "memory":
        kind, limit = resource.RLIMIT_AS, process.memory_info().vms
    else:
        kind, limit = resource.RLIMIT_NOFILE, process.num_fds()
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (limit, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):  # the process ended of it
            resource.prlimit(pid, kind, before)
