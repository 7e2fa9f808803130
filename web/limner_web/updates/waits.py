"""How long a request waits: until it is signalled, its time is over, or its client has hung up.

One thread looks after all clients of the process together: a look by each request itself would wake thousands of them
every few seconds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from limner_shared.threads import Supervisor
from limner_web.serving.stalls import UNIT_SECONDS
from limner_web.updates.deadlines import Deadlines

HANG_UP_SECONDS: Final = 3.0
"""Interval at which it is checked whether the clients of waiting requests have hung up."""


@dataclass(slots=True, eq=False)
class Wait:
    """The wait of one request."""

    end: float
    """When it is over, by the monotonic clock."""
    gone: Callable[[], bool]
    """Tells whether the client has hung up."""
    signal: threading.Event = field(default_factory=threading.Event)
    """Set by what the request waits for, and if its client has hung up."""
    has_hung_up: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the time has passed or the client has hung up."""
        return self.has_hung_up or time.monotonic() >= self.end

    def until_signalled(self) -> bool:
        """Wait, and return whether what the request waits for has set the signal; then it is clear again."""
        self.signal.wait(max(0.0, self.end - time.monotonic()))
        is_set = self.signal.is_set() and not self.has_hung_up
        self.signal.clear()
        return is_set


class Waits:
    """The waits of this process."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._waits: set[Wait] = set()
        self._deadlines = Deadlines()
        self._lock = threading.Lock()
        self._started = False

    @contextmanager
    def waiting(self, seconds: float, gone: Callable[[], bool]) -> Generator[Wait]:
        """Return a wait of `seconds`; where many others end at the same time, it is shorter (`Deadlines`)."""
        self._start()
        with self._lock:
            wait = Wait(self._deadlines.take(time.monotonic(), seconds), gone)
            self._waits.add(wait)
        try:
            wait.has_hung_up = gone()
            yield wait
        finally:
            with self._lock:
                self._waits.discard(wait)
                self._deadlines.give_back(wait.end)

    def _start(self) -> None:
        """Start the thread at the first use, so that each forked server process has its own."""
        with self._lock:
            if not self._started:
                self._started = True
                self._supervisor.start("hang-ups", self._look_after_clients, limit_seconds=UNIT_SECONDS)

    def _look_after_clients(self) -> None:
        while True:
            self._supervisor.idle()
            time.sleep(HANG_UP_SECONDS)
            self._supervisor.working()
            for wait in list(self._waits):
                if wait.gone():
                    wait.has_hung_up = True
                    wait.signal.set()
