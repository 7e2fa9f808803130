"""Whether this web process is stopping. Clients that wait for news get an early answer then, and ask another process.
An answer that cannot be asked for again, such as a picture in the response, is still waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast


class ServerProcess(Protocol):
    """What is used of gunicorn's worker."""

    alive: bool
    """False once it was told to stop."""


class Shutdown:
    """Follows the process that serves the application; without one, it has not begun."""

    def __init__(self) -> None:
        self._process: ServerProcess | None = None

    def follow(self, process: object) -> None:
        """Follow gunicorn's worker."""
        self._process = cast("ServerProcess", process)

    @property
    def begun(self) -> bool:
        """Whether the process was told to stop."""
        return self._process is not None and not self._process.alive

    def or_begun(self, gone: Callable[[], bool]) -> Callable[[], bool]:
        """A check whether the client has gone or the process is stopping."""
        return lambda: gone() or self.begun
