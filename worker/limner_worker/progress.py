"""Tells how far running jobs are, at most ten times a second each, from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from limner_shared.events import Hints, Progress
from limner_shared.ledger import Change, Claim
from limner_worker.engine.request import JobRun

INTERVAL_SECONDS = 0.1


class Reporter:
    """Collects what changed since it last told, so that a fast engine costs Redis no more than a slow one."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._started: list[Change] = []
        self._progress: dict[str, tuple[str, Progress]] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def started(self, claims: Sequence[Claim]) -> None:
        """These jobs run now."""
        changes = [claim.change for claim in claims]
        with self._lock:
            self._started += changes
        self._wake.set()

    def note(self, job: JobRun) -> None:
        """This job took a step."""
        with self._lock:
            self._progress[job.id] = (job.claim.tenant_id, job.progress)
        self._wake.set()

    def ended(self, job_id: str) -> None:
        """What is not told yet of this job need not be told: its end will be."""
        with self._lock:
            self._progress.pop(job_id, None)

    def stop(self) -> None:
        """Tell what is left, and end."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            with self._lock:
                started, self._started = self._started, []
                progress, self._progress = self._progress, {}
            self._hints.changed(started)
            self._hints.progressed(progress)
            self._stopping.wait(INTERVAL_SECONDS)
