"""Ends the process when a device call hangs or a thread stalls: nothing in a process can stop a call of a device that
does not return. The worker's other jobs are handed back first, within a time limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from limner_shared.db.ledger import AttemptKey
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor

log = get_logger(__name__)

INTERVAL_SECONDS: Final = 1.0


class Watchdog:
    """Calls `end` with a reason and the suspects: those of a hanging call, or all held attempts if a thread stalls."""

    def __init__(
        self,
        threads: Supervisor,
        stuck: Callable[[], set[AttemptKey] | None],
        held: Callable[[], set[AttemptKey]],
        end: Callable[[str, set[AttemptKey]], None],
    ) -> None:
        """`stuck` returns the attempts of a call that hangs, or None."""
        self._threads = threads
        self._stuck = stuck
        self._held = held
        self._end = end
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to watch."""
        self._thread = self._threads.start("watchdog", self._run)

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_SECONDS):
            stuck = self._stuck()
            if stuck is not None:
                self._end("a device call hangs", stuck)
            elif stalled := self._threads.stalled():
                self._end(f"threads are stalled: {', '.join(sorted(stalled))}", self._held())
