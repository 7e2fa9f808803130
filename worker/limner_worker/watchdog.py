"""Ends a worker whose model hangs: nothing in a process can stop a call of a device that does not return."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Final

from limner_shared.telemetry import get_logger

log = get_logger(__name__)

EXIT_CODE: Final = 70
"""EX_SOFTWARE of sysexits.h; the supervisor starts the worker anew."""
EVERY_SECONDS: Final = 1.0


class Watchdog:
    """Asks `stuck` again and again for the jobs of a call that hangs; unless it says None, `hand_back` is told them, to
    let go of all others, and the process ends. The leases of those that hung run out: each is one loss.
    """

    def __init__(self, stuck: Callable[[], set[str] | None], hand_back: Callable[[set[str]], None]) -> None:
        self._stuck = stuck
        self._hand_back = hand_back
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(EVERY_SECONDS):
            stuck = self._stuck()
            if stuck is not None:
                log.critical("the engine hangs or is broken; this worker ends", jobs=sorted(stuck))
                self._hand_back(stuck)
                os._exit(EXIT_CODE)  # the hanging thread lets nothing else end the process
