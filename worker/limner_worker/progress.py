"""Tells how far running jobs are, at most ten times a second each, and shows them to those who look."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence

from PIL import Image

from limner_shared.events import Hints, Progress
from limner_shared.ledger import Change, Claim
from limner_worker.engine.request import JobRun
from limner_worker.generators.base import Picture

INTERVAL_SECONDS = 0.1
LOOKED_EVERY_SECONDS = 1.0
"""So often it is asked who is watched."""


class Reporter:
    """Collects what changed since it last told, so that a fast engine costs Redis no more than a slow one."""

    def __init__(self, hints: Hints) -> None:
        self._hints = hints
        self._started: list[Change] = []
        self._progress: dict[str, tuple[str, Progress]] = {}
        self._pictures: dict[str, Picture] = {}
        self._running: dict[str, JobRun] = {}
        self._looked = 0.0
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
            self._running[job.id] = job
        self._wake.set()

    def show(self, job: JobRun, picture: Picture) -> None:
        """This job, which is watched, looks like this."""
        with self._lock:
            self._pictures[job.id] = picture
        self._wake.set()

    def ended(self, job_id: str) -> None:
        """What is not told yet of this job need not be told: its end will be."""
        with self._lock:
            for known in (self._progress, self._pictures, self._running):
                known.pop(job_id, None)

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
                pictures, self._pictures = self._pictures, {}
                running = dict(self._running)
            self._hints.changed(started)
            self._hints.progressed(progress)
            for job_id, picture in pictures.items():
                self._hints.previewed(job_id, _webp(picture))
            self._look(running)
            self._stopping.wait(INTERVAL_SECONDS)

    def _look(self, running: dict[str, JobRun]) -> None:
        if time.monotonic() - self._looked < LOOKED_EVERY_SECONDS:
            return
        self._looked = time.monotonic()
        watched = self._hints.watched(running)
        for job_id, job in running.items():
            job.watched = job_id in watched


def _webp(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=70)
    return buffer.getvalue()
