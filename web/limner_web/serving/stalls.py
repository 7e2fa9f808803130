"""Ends a web process one of whose threads hangs, so that gunicorn starts another: nothing can stop a call that does not
return.

While the database does not answer, its callers hang with it. A new process would do so too, and could not even start,
so then the threads are only shown (`GET /readyz`).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from limner_shared.process_end import end_process
from limner_shared.threads import Supervisor
from limner_web.serving.probe import FULL, Probe

UNIT_SECONDS: Final = 180.0
"""The limit of one unit of a thread's work: longer than a few statements that each take as long as they may."""
WATCH_SECONDS: Final = 1.0
ALIVE_SECONDS: Final = 10.0
"""How long the database must have answered before a thread that hangs ends the process: threads that hung because of it
have gone on by then.
"""


class StallWatch:
    """Watches the threads of a web process."""

    def __init__(
        self,
        supervisor: Supervisor,
        probe: Probe,
        end: Callable[[str, BaseException], object] = end_process,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._supervisor = supervisor
        self._probe = probe
        self._end = end
        self._clock = clock
        self._alive_since: float | None = None

    def start(self) -> None:
        """Start the thread. To be called in the process that serves, after a fork."""
        self._supervisor.start("watchdog", self._run)

    def look(self) -> None:
        """End the process if a thread is beyond its limit, and the database has answered for ALIVE_SECONDS since."""
        stalled = self._supervisor.stalled()
        if not stalled or self._probe.check().database not in ("ok", FULL):
            self._alive_since = None
            return
        now = self._clock()
        if self._alive_since is None:
            self._alive_since = now
        if now - self._alive_since >= ALIVE_SECONDS:
            name, seconds = max(stalled.items(), key=lambda each: each[1])
            self._end(name, TimeoutError(f"no progress for {seconds:.0f} s"))

    def _run(self) -> None:
        while True:
            time.sleep(WATCH_SECONDS)
            self.look()
