"""The end of a process: its last tasks have a time limit each, and then it ends, whatever still hangs."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from limner_shared.telemetry import get_logger

log = get_logger(__name__)

EXIT_CODE: Final = 70
"""`EX_SOFTWARE` of sysexits.h."""


LAST_SECONDS: Final = 4.0
"""How long the last log lines and tasks of a process may take together."""


@dataclass(slots=True)
class _Ending:
    lock: threading.Lock = field(default_factory=threading.Lock)
    tasks: list[Callable[[], object]] = field(default_factory=list[Callable[[], object]])


_ENDING: Final = _Ending()


def before_end(task: Callable[[], object]) -> None:
    """Let `end_process` run `task` first, on a thread of its own. The same task is run once."""
    if task not in _ENDING.tasks:
        _ENDING.tasks.append(task)


def end_process(name: str, error: BaseException) -> None:
    """End the process with `os._exit`: a thread that hangs would block every other way.

    The log line and the tasks of `before_end` have LAST_SECONDS: a collector that hangs does not keep the process.
    """
    with _ENDING.lock:  # the first caller does not return
        try:
            run_for(LAST_SECONDS, "end", partial(_end, name, error))
        finally:
            os._exit(EXIT_CODE)


def run_for(seconds: float, name: str, task: Callable[[], object]) -> None:
    """Run one of the last tasks of a process on a thread of its own, and wait for it for `seconds`. An error is logged.
    To log is such a task too: it hangs while standard error is not read.

    Where no thread can be started, because memory or processes are exhausted, it runs on the calling one.
    """
    context = copy_context()

    def run() -> None:
        context.run(_attempt, name, task)

    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError:
        run()
    else:
        thread.join(seconds)


def _attempt(name: str, task: Callable[[], object]) -> None:
    try:
        task()
    except Exception as error:  # noqa: BLE001 - the others of the last tasks still run
        log.warning("not done before the end", task=name, error=repr(error)[:200])


def _end(name: str, error: BaseException) -> None:
    log.critical("thread failed, this process ends", thread=name, error=repr(error)[:200])
    for task in _ENDING.tasks:
        _attempt(getattr(task, "__qualname__", repr(task)), task)
    logging.shutdown()
    sys.stderr.flush()
