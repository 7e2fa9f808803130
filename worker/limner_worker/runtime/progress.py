"""Reports the progress of running jobs, at most ten times per second each, and the previews that clients want."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence
from typing import Final

from PIL import Image

from limner_shared.db.ledger import Change
from limner_shared.messaging.hints import Hints
from limner_shared.telemetry import get_logger, job_ids
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture

log = get_logger(__name__)

INTERVAL_SECONDS: Final = 0.1
WATCH_POLL_SECONDS: Final = 1.0
"""Interval at which Redis is asked of which jobs clients want previews."""
UNIT_SECONDS: Final = 120.0
"""One round of hints that lasts longer is stalled; Redis's own time limits end it long before."""


class ProgressReporter:
    """Collects the changes since its last report, so that a fast engine costs Redis no more than a slow one."""

    def __init__(self, hints: Hints, supervisor: Supervisor) -> None:
        self._hints = hints
        self._supervisor = supervisor
        self._started: list[Change] = []
        self._stepped: dict[str, JobRun] = {}
        self._pictures: dict[str, Picture] = {}
        self._running: dict[str, JobRun] = {}
        self._watch_polled_at = 0.0
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._supervisor.start("progress", self._run, limit_seconds=UNIT_SECONDS)

    def add(self, jobs: Sequence[JobRun]) -> None:
        """Report that these jobs run now, and accept their progress."""
        with self._lock:
            self._started += [job.claim.change for job in jobs]
            self._running |= {job.id: job for job in jobs}
        self._wake.set()

    def report_progress(self, job: JobRun) -> None:
        """Report that this job took a step."""
        with self._lock:
            if self._running.get(job.id) is job:  # it may have finished meanwhile
                self._stepped[job.id] = job
        self._wake.set()

    def report_preview(self, job: JobRun, picture: Picture) -> None:
        """Report a preview of this job."""
        with self._lock:
            if self._running.get(job.id) is job:
                self._pictures[job.id] = picture
        self._wake.set()

    def remove(self, job: JobRun) -> None:
        """Discard the unreported progress of an attempt that has finished: its final state is published instead."""
        with self._lock:
            if self._running.get(job.id) is job:
                for entries in (self._stepped, self._pictures, self._running):
                    entries.pop(job.id, None)

    def stop(self) -> None:
        """Report the rest, and stop the thread."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait()
            self._wake.clear()
            self._supervisor.working()
            self._report()
            self._supervisor.idle()
            self._stopping.wait(INTERVAL_SECONDS)

    def _report(self) -> None:
        """Report the changes since the last time. A frame of its own: a thread that waits holds no job in memory."""
        with self._lock:
            started, self._started = self._started, []
            stepped, self._stepped = self._stepped, {}
            pictures, self._pictures = self._pictures, {}
            running = dict(self._running)
        try:
            self._send(started, stepped, pictures)
            self._update_preview_wanted(running)
        except Exception:  # hints may be lost
            log.exception("could not report progress", jobs=job_ids(stepped))

    def _send(self, started: list[Change], stepped: dict[str, JobRun], pictures: dict[str, Picture]) -> None:
        self._hints.changed(started)
        # A job whose pictures are complete sends its end next.
        unfinished = {job_id: job for job_id, job in stepped.items() if job.generated_at is None}
        self._hints.progressed({job_id: (job.claim.tenant_id, job.progress) for job_id, job in unfinished.items()})
        for job_id, picture in pictures.items():
            self._hints.previewed(job_id, _webp(picture))

    def _update_preview_wanted(self, running: dict[str, JobRun]) -> None:
        if time.monotonic() - self._watch_polled_at < WATCH_POLL_SECONDS:
            return
        self._watch_polled_at = time.monotonic()
        wanted = self._hints.jobs_with_preview_requests(running)
        for job_id, job in running.items():
            job.preview_wanted = job_id in wanted


def _webp(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=70)
    return buffer.getvalue()
