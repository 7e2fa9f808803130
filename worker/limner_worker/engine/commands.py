"""What other threads ask of the engine: done on its thread, between two calls of models."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue

from limner_shared.threads import Supervisor


class Commands:
    """Functions in the order in which they were given. `give` is safe from any thread, `run` for the engine's."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._waiting: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def give(self, command: Callable[[], None]) -> None:
        """Have a function called on the engine's thread."""
        self._waiting.put(command)

    def run(self, *, wait: bool) -> None:
        """Call the functions that were given; with `wait`, at least one."""
        if wait:
            self._supervisor.idle()
        try:
            command = self._waiting.get(block=wait)
            self._supervisor.working()
            command()
            while True:
                self._waiting.get_nowait()()
        except Empty:
            return
