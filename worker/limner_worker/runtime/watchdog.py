"""Ends the process when a device call hangs or a thread stalls; a process has no means to stop a device call that does
not return. The worker's other jobs are handed back first, within a time limit.
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
    """Calls `end_process` with a reason and the suspects: the hanging call's attempts, or all if a thread stalls."""

    def __init__(
        self,
        threads: Supervisor,
        stuck_attempts: Callable[[], set[AttemptKey] | None],
        held_attempts: Callable[[], set[AttemptKey]],
        end_process: Callable[[str, set[AttemptKey]], None],
    ) -> None:
        """`stuck_attempts` returns the attempts of a device call that hangs, or None."""
        self._threads = threads
        self._stuck_attempts = stuck_attempts
        self._held_attempts = held_attempts
        self._end_process = end_process
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._threads.start("watchdog", self._run)

    def stop(self) -> None:
        """Stop the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_SECONDS):
            stuck = self._stuck_attempts()
            if stuck is not None:
                self._end_process("a device call hangs", stuck)
            elif stalled := self._threads.stalled():
                self._end_process(f"threads are stalled: {', '.join(sorted(stalled))}", self._held_attempts())
