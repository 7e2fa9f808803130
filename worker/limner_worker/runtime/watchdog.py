"""Ends the process when a model's call or the loading of a model hangs or a thread stalls; a process has no means to
stop a call that does not return. The worker's other jobs are handed back first, within a time limit.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from limner_shared.db.ledger import AttemptKey
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.loop import Engine
from limner_worker.generators.model_cache import ModelCache

log = get_logger(__name__)

INTERVAL_SECONDS: Final = 1.0


def engine_limit(settings: Settings) -> float:
    """How long the engine's thread may take between two calls of models or loads, which have limits of their own: more
    than each of these, so that a call or a load that hangs is found as such.
    """
    return settings.step_timeout_seconds + settings.load_timeout_seconds


class Watchdog:
    """Calls `end_process` with a reason and the suspects: the hanging call's attempts, none if a model does not finish
    loading, which no job causes, the engine's if its thread stalls between calls, or all if another thread stalls.
    """

    def __init__(
        self,
        settings: Settings,
        supervisor: Supervisor,
        engine: Engine,
        models: ModelCache,
        held_attempts: Callable[[], set[AttemptKey]],
        end_process: Callable[[str, set[AttemptKey]], None],
    ) -> None:
        self._settings = settings
        self._supervisor = supervisor
        self._engine = engine
        self._models = models
        self._held_attempts = held_attempts
        self._end_process = end_process
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._supervisor.start("watchdog", self._run)

    def stop(self) -> None:
        """Stop the thread."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(INTERVAL_SECONDS):
            stuck = self._engine.stuck_attempts(self._settings.step_timeout_seconds)
            loading = self._models.stuck_load(self._settings.load_timeout_seconds)
            if stuck is not None:
                self._end_process("a call of a model hangs the thread engine", stuck)
            elif loading is not None:
                self._end_process(f"the model {loading} does not finish loading", set())
            elif stalled := self._supervisor.stalled():
                suspects = self._engine.suspects if stalled.keys() == {"engine"} else self._held_attempts()
                self._end_process(f"threads are stalled: {', '.join(sorted(stalled))}", suspects)
