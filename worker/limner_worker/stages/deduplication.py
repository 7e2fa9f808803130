"""Generates equal requests once, for tenants that enable it: one job is generated, the others get its pictures.

Each job stays independent: it is claimed, fenced, finished, canceled and deleted by itself, and has its own image rows,
which refer to the same bytes. So deduplication cannot lose or repeat a job; at worst a picture is generated twice.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from typing import Any, Final, NamedTuple

from sqlalchemy.exc import SQLAlchemyError

from limner_shared import metrics
from limner_shared.db import queries, tables
from limner_shared.db.embeddings import embeddings_of
from limner_shared.db.engine import Database, describe
from limner_shared.db.ledger import AttemptKey, Claim, NewImage
from limner_shared.domain.embeddings import Embedding
from limner_shared.domain.inputs import CONTROL_FIELDS, REFERENCE_FIELDS
from limner_shared.domain.jobs import Lane
from limner_shared.domain.prompt_weights import follows_weights
from limner_shared.domain.replay import SHARED_WITH, STYLE
from limner_shared.errors import LimnerError
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger, job_ids
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.waiting_items import take_waiting

log = get_logger(__name__)

IGNORED_FIELDS: Final = {
    *("version", "style", "styles", "seed", "n", "plain_words"),
    *("description", "history", "languages", "given"),
    *("replay", "replay_places", "seeds", "scene", "dropped_negative", "beyond"),
}
"""Spec fields that do not affect a picture: its own seed and style are hashed, and texts have become conditions."""

UNIT_SECONDS: Final = 300.0
"""One batch of lookups and copies that lasts longer is stalled."""

Keys = tuple[str, ...]


class _Stored(NamedTuple):
    """A picture in the ledger, and its embedding, if it has one."""

    image: tables.Image
    embedding: Embedding | None


def deduplication_keys(claim: Claim, fingerprint: Mapping[str, Any]) -> Keys:
    """Return a hash per image of all that determines it: tenant, conditions, seed, model, weights, device.

    Empty if the tenant does not share results, for a replay, whose purpose is to generate the picture again, and for
    adapters of a folder: their files are read when the picture is drawn.
    """
    spec, known = claim.spec, fingerprint.get("adapters", {})
    if not claim.shares or spec.replay or any(each.name not in known for each in spec.adapters):
        return ()
    conditions = spec.model_dump(mode="json", exclude=IGNORED_FIELDS)
    conditions["version"] = 1  # as specs of version 1 are hashed
    if spec.scenes is None:
        del conditions["scenes"]  # as specs without this field are hashed
    if spec.candidates == 1:
        del conditions["candidates"]  # likewise
    if spec.padding_mask_crop is None:
        del conditions["padding_mask_crop"]  # likewise
    if spec.control_image is None:
        conditions = {name: value for name, value in conditions.items() if name not in CONTROL_FIELDS}  # likewise
    if not spec.reference_images:
        conditions = {name: value for name, value in conditions.items() if name not in REFERENCE_FIELDS}
    if follows_weights(spec):
        conditions["weights"] = True  # as text, the same prompt is another picture
    common = {"tenant": claim.tenant_id, "by": fingerprint}
    seeds = [spec.image_seed(index) for index in range(spec.n)]
    specs = [conditions | {"style": spec.style_for(seed)} for seed in seeds]
    texts = [
        json.dumps(common | {"spec": each, "seed": seed}, sort_keys=True)
        for seed, each in zip(seeds, specs, strict=True)
    ]
    return tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)


class Deduplicator:
    """One thread, before the engine.

    A job whose pictures are in the ledger gets them. A job equal to one that is being generated here waits for it,
    unless its own lane is better. Every other job is generated.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        fingerprints: Mapping[str, Mapping[str, Any]],
        supervisor: Supervisor,
        is_working: Callable[[JobRun], bool],
        generate: Callable[[Sequence[JobRun]], None],
        on_duplicate: Callable[[JobRun, Sequence[NewImage]], None],
        may_reuse: Callable[[Claim, Sequence[Mapping[str, Any]]], bool],
    ) -> None:
        """`is_working` tells whether an attempt is unfinished in this worker.

        `may_reuse` tells whether a job may get pictures with these receipts.

        `generate` gets the jobs to be generated, and `on_duplicate` a job whose pictures are stored already.
        """
        self._database = database
        self._blobs = blobs
        self._fingerprints = fingerprints
        self._supervisor = supervisor
        self._is_working = is_working
        self._generate = generate
        self._on_duplicate = on_duplicate
        self._may_reuse = may_reuse
        self._queue: SimpleQueue[JobRun | AttemptKey | None] = SimpleQueue()
        self._generating: dict[AttemptKey, tuple[Keys, Lane]] = {}
        self._waiting: dict[Keys, list[JobRun]] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = self._supervisor.start("deduplication", self._run, limit_seconds=UNIT_SECONDS)

    def submit(self, jobs: Sequence[JobRun]) -> None:
        """Accept jobs that are ready to be generated. Safe from any thread."""
        unshared: list[JobRun] = []
        for job in jobs:
            if self._keys(job):
                self._queue.put(job)
            else:
                unshared.append(job)
        if unshared:
            self._generate(unshared)

    def attempt_ended(self, job: JobRun) -> None:
        """Let the jobs go on that wait for this attempt's pictures: it was committed, aborted or given up.

        Safe from any thread; only after `is_working` has become false for the attempt.
        """
        if job.key in self._generating:
            self._queue.put(job.key)

    def stop(self) -> None:
        """Stop the thread after the jobs in progress. The worker hands back the jobs that wait."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _keys(self, job: JobRun) -> Keys:
        return deduplication_keys(job.claim, self._fingerprints.get(job.claim.spec.model, {}))

    def _run(self) -> None:
        while not self._stopping.is_set():
            jobs = self._next()
            self._supervisor.working()
            try:
                if jobs:
                    self._resolve(jobs)
            except Exception:  # generating is always correct
                log.exception("deduplication failed, generating all", jobs=job_ids(job.id for job in jobs))
                self._generate([job for job in jobs if self._is_working(job)])
            self._supervisor.idle()

    def _next(self) -> list[JobRun]:
        """Wait for an item; return the submitted jobs, and those that no longer have an attempt to wait for."""
        jobs: list[JobRun] = []
        for item in take_waiting(self._queue):
            if isinstance(item, JobRun):
                jobs.append(item)
            elif item is not None and item in self._generating:
                jobs += self._waiting.pop(self._generating.pop(item)[0], [])
        return jobs

    def _resolve(self, jobs: Sequence[JobRun]) -> None:
        """Decide for each job, the best lane first, whether it gets stored pictures, waits, or is generated."""
        keys_of = {job.key: self._keys(job) for job in jobs}
        stored = self._find_images({key for keys in keys_of.values() for key in keys})
        generated: list[JobRun] = []
        for job in sorted(jobs, key=lambda job: job.claim.lane):
            keys = keys_of[job.key]
            copies = self._copy_images(job, [stored[key] for key in keys if key in stored])
            if copies:
                metrics.CACHE_REQUESTS.inc(cache="results", result="hit")
                self._on_duplicate(job, copies)
            elif any(keys == other and lane <= job.claim.lane for other, lane in self._generating.values()):
                self._waiting.setdefault(keys, []).append(job)
            else:
                self._generating[job.key] = keys, job.claim.lane
                # Checked after the entry above: an attempt that ended before it will not be reported as ended.
                if self._is_working(job):
                    metrics.CACHE_REQUESTS.inc(cache="results", result="miss")
                    generated.append(job)
                else:
                    del self._generating[job.key]
        if generated:
            self._generate(generated)

    def _find_images(self, keys: set[str]) -> Mapping[str, _Stored]:
        try:
            with self._database.read() as session:
                images = queries.pictures_of(session, sorted(keys))
                found = embeddings_of(session, [image.id for image in images.values()]) if images else {}
                return {key: _Stored(image, found.get(image.id)) for key, image in images.items()}
        except SQLAlchemyError as error:
            log.warning("could not look up equal pictures", error=describe(error))
            return {}

    def _copy_images(self, job: JobRun, stored: Sequence[_Stored]) -> list[NewImage]:
        """Return the job's images, which refer to the bytes of these; empty if one is missing or damaged."""
        images = [each.image for each in stored]
        if len(images) < job.claim.spec.n or not self._may_reuse(job.claim, [image.receipt for image in images]):
            return []
        try:
            contents = [self._blobs.get(image.sha256) for image in images]
            for data in contents:
                self._blobs.put(data)  # renews its age: retention must not delete it before the new row refers to it
        except LimnerError as error:
            log.warning("could not read an equal picture", job=job.id, error=error.code)
            return []
        return [_copied(job, each) for each in stored]


def _copied(job: JobRun, stored: _Stored) -> NewImage:
    """Return a copy for this job, without the deduplication key: lookups find the original row only."""
    image = stored.image
    style = job.claim.spec.style_for(image.seed)  # receipts of earlier versions lack it
    return NewImage(
        sha256=image.sha256,
        media_type=image.media_type,
        width=image.width,
        height=image.height,
        size_bytes=image.size_bytes,
        seed=image.seed,
        receipt={**image.receipt, **({} if style is None else {STYLE: style}), SHARED_WITH: image.job_id},
        alt_text=image.alt_text,  # of the same prompt and style
        embedding=stored.embedding,
    )
