"""Equal requests are drawn once, where their tenant wants that: one of them is drawn, the others get its pictures.

Each job stays a job of its own: claimed, fenced, finished, canceled and deleted for itself, with image rows of its own
that refer to the same bytes. So nothing here can lose or double one; at worst a picture is drawn twice.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from queue import Empty, SimpleQueue
from typing import Any, Final

import numpy as np
from PIL import Image
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db import queries, tables
from limner_shared.db.engine import Database, describe
from limner_shared.db.ledger import AttemptKey, Claim, NewImage
from limner_shared.domain.jobs import Lane
from limner_shared.domain.replay import SHARED_WITH
from limner_shared.errors import LimnerError, StorageFailed
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.interpretation.presentation import alt_text

log = get_logger(__name__)

UNSEEN: Final = {"seed", "n", "description", "history", "given", "replay"}
"""Of a spec, what is not to be seen in a picture: its own seed is, and the texts became conditions before."""

UNIT_SECONDS: Final = 300.0
"""One batch of lookups and copies that lasts longer is stalled."""

DeduplicationKeys = tuple[str, ...]


def deduplication_keys(claim: Claim, fingerprint: Mapping[str, Any]) -> DeduplicationKeys:
    """For each image of a job, a hash of all that decides it: tenant, conditions, seed, model, weights, device.

    None where results are not shared, and none for a replay, which is there to draw the picture again.
    """
    spec = claim.spec
    if not claim.shares or spec.replay:
        return ()
    about = {"tenant": claim.tenant_id, "by": fingerprint, "spec": spec.model_dump(mode="json", exclude=UNSEEN)}
    seeds = [spec.image_seed(index) for index in range(spec.n)]
    texts = [json.dumps(about | {"seed": seed}, sort_keys=True) for seed in seeds]
    return tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)


class Deduplicator:
    """One thread, before the engine. A job whose pictures the ledger has gets them; one that is being drawn here is
    waited for, unless by a job of a better lane; every other one is drawn.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        fingerprints: Mapping[str, Mapping[str, Any]],
        threads: Supervisor,
        ours: Callable[[JobRun], bool],
        draw: Callable[[Sequence[JobRun]], None],
        found: Callable[[JobRun, Sequence[NewImage]], None],
    ) -> None:
        """`ours` tells whether a job is still in this worker's hands; `draw` gets those to be drawn, `found` one whose
        pictures are stored.
        """
        self._database = database
        self._blobs = blobs
        self._fingerprints = fingerprints
        self._threads = threads
        self._ours = ours
        self._draw = draw
        self._found = found
        self._queue: SimpleQueue[JobRun | AttemptKey | None] = SimpleQueue()
        self._drawn: dict[AttemptKey, tuple[DeduplicationKeys, Lane]] = {}
        self._waiting: dict[DeduplicationKeys, list[JobRun]] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to work."""
        self._thread = self._threads.start("sharing", self._run, limit_seconds=UNIT_SECONDS)

    def take(self, jobs: Sequence[JobRun]) -> None:
        """Jobs that are ready to be drawn. For any thread."""
        plain: list[JobRun] = []
        for job in jobs:
            if self._keys(job):
                self._queue.put(job)
            else:
                plain.append(job)
        if plain:
            self._draw(plain)

    def ended(self, job: JobRun) -> None:
        """An attempt was committed, or is no longer ours: jobs that wait for its pictures need not wait longer. For any
        thread, after `ours` has become false.
        """
        if job.key in self._drawn:
            self._queue.put(job.key)

    def stop(self) -> None:
        """End after what is in progress; what waits is handed back by its owner."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _keys(self, job: JobRun) -> DeduplicationKeys:
        return deduplication_keys(job.claim, self._fingerprints.get(job.claim.spec.model, {}))

    def _run(self) -> None:
        while not self._stopping.is_set():
            jobs = self._next()
            self._threads.working()
            try:
                if jobs:
                    self._sort(jobs)
            except Exception:  # whatever it is, they can be drawn
                log.exception("could not share", jobs=[job.id for job in jobs])
                self._draw([job for job in jobs if self._ours(job)])
            self._threads.idle()

    def _next(self) -> list[JobRun]:
        """Jobs that came, and those that need not wait any longer."""
        items = [self._queue.get()]
        try:
            while True:
                items.append(self._queue.get_nowait())
        except Empty:
            pass
        jobs: list[JobRun] = []
        for item in items:
            if isinstance(item, JobRun):
                jobs.append(item)
            elif item is not None and item in self._drawn:
                jobs += self._waiting.pop(self._drawn.pop(item)[0], [])
        return jobs

    def _sort(self, jobs: Sequence[JobRun]) -> None:
        asked = {job.key: self._keys(job) for job in jobs}
        known = self._look({key for each in asked.values() for key in each})
        drawn: list[JobRun] = []
        for job in sorted(jobs, key=lambda job: job.claim.lane):
            copies = self._copy(job, [known[key] for key in asked[job.key] if key in known])
            if copies:
                self._found(job, copies)
            elif any(asked[job.key] == other and lane <= job.claim.lane for other, lane in self._drawn.values()):
                self._waiting.setdefault(asked[job.key], []).append(job)
            else:
                self._drawn[job.key] = asked[job.key], job.claim.lane
                if self._ours(job):  # asked after it was noted: had it left before, nobody would tell that it has ended
                    drawn.append(job)
                else:
                    del self._drawn[job.key]
        if drawn:
            self._draw(drawn)

    def _look(self, wanted: set[str]) -> Mapping[str, tables.Image]:
        try:
            with self._database.read() as session:
                return queries.pictures_of(session, sorted(wanted))
        except SQLAlchemyError as error:
            log.warning("could not look for equal pictures", error=describe(error))
            return {}

    def _copy(self, job: JobRun, images: Sequence[tables.Image]) -> list[NewImage]:
        """The job's images, of these bytes; none if one is missing."""
        if len(images) < job.claim.spec.n:
            return []
        try:
            stored = [self._blobs.get(image.sha256) for image in images]
            if any(
                hashlib.sha256(data).hexdigest() != image.sha256 for data, image in zip(stored, images, strict=True)
            ):
                raise StorageFailed("The stored picture is damaged.")
            for data in stored:
                self._blobs.put(data)  # as new as any before it is referred to, so that no cleaner takes it meanwhile
        except LimnerError as error:
            log.warning("an equal picture cannot be had", job=job.id, error=error.code)
            return []
        with Image.open(BytesIO(stored[0])) as picture:
            job.rows[0].picture = np.asarray(picture.convert("RGB"))  # for who presents it
        return [_copied(job, image) for image in images]


def _copied(job: JobRun, image: tables.Image) -> NewImage:
    """Without the deduplication key: however often a picture is shared, one row is found."""
    return NewImage(
        sha256=image.sha256,
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        seed=image.seed,
        receipt={**image.receipt, SHARED_WITH: image.job_id},
        alt_text=alt_text(job.claim.spec),
    )
