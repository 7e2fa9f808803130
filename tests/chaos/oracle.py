"""Checks what must be true after the faults: no job is lost, duplicated or left unfinished."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping
from io import BytesIO

from PIL import Image as PictureFile
from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.engine import Database
from limner_shared.db.ledger import LOCAL_TENANT
from limner_shared.db.tables import Bulk, Event, Image, Job
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobSpec, JobState
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_worker.generators.base import ImageTask, pictures_of
from limner_worker.generators.null import Null, NullState
from limner_worker.stages.picture_files import encode_png
from limner_worker.stages.provenance import xmp


class Watcher(threading.Thread):
    """Polls the jobs during the faults: versions must not decrease, and terminal states must not change."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._seen: dict[str, tuple[int, str]] = {}
        self._stopping = threading.Event()
        self.violations: list[str] = []

    def run(self) -> None:
        while not self._stopping.wait(0.3):
            try:
                with self._database.read() as session:
                    rows = session.execute(select(Job.id, Job.version, Job.state)).all()
            except SQLAlchemyError:
                continue  # the database itself is being broken
            for job_id, version, state in rows:
                before, was = self._seen.get(job_id, (0, "queued"))
                if version < before:
                    self.violations.append(f"{job_id}: version {before} went back to {version}")
                if JobState(was).terminal and state != was:
                    self.violations.append(f"{job_id}: {was} became {state}")
                self._seen[job_id] = (version, state)

    def stop(self) -> list[str]:
        self._stopping.set()
        self.join()
        return self.violations


def violations(
    database: Database,
    settings: Settings,
    accepted: set[str],
    allowed: Mapping[str, set[str]] = {},
    damaged_inputs: Collection[str] = (),
    previous_pids: Collection[int] = (),
) -> list[str]:
    """Return a sentence for each violation; an empty list if there is none.

    `allowed`: by job id, ends other than success that are allowed; `damaged_inputs`: input images whose jobs may fail;
    `previous_pids`: processes of the previous release.
    """
    blobs = Blobs(settings.resolved_blob_url)
    model = Null(Catalogue.load(settings.models, settings.default_model).get("null"))
    found: list[str] = []
    with database.read() as session:
        jobs = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(accepted)))}
        images = session.scalars(select(Image).where(Image.job_id.in_(accepted))).all()
        success_counts = Counter(
            session.scalars(select(Event.job_id).where(Event.job_id.in_(accepted), Event.kind == "succeeded"))
        )
        unexpected = session.scalars(select(Job.id).where(Job.id.not_in(accepted), _complete())).all()
    found += [f"{job_id}: accepted but lost" for job_id in accepted - jobs.keys()]
    found += [f"{job_id}: created twice from one request" for job_id in unexpected]
    images_by_job: dict[str, list[Image]] = {job_id: [] for job_id in jobs}
    for image in images:
        images_by_job[image.job_id].append(image)
    for job in jobs.values():
        if job.state == JobState.SUCCEEDED:
            found += _success_violations(
                job, success_counts[job.id], images_by_job[job.id], blobs, model, previous_pids
            )
        else:
            allowed_ends = allowed.get(job.id, set())
            if job.spec.get("image") in damaged_inputs:
                allowed_ends = allowed_ends | {"damaged_input", "not_found"}
            if job.state not in allowed_ends and job.error_code not in allowed_ends:
                found.append(f"{job.id}: {job.state} {job.error_code or ''}")
    return found


def _complete() -> ColumnElement[bool]:
    """Jobs of the tenant that sends the traffic, except those of bulks that were never complete: they are deleted."""
    incomplete = select(Bulk.id).where(Bulk.state.in_(("loading", "dropping", "canceling", "canceled")))
    return (Job.tenant_id == LOCAL_TENANT) & (Job.bulk_id.is_(None) | Job.bulk_id.not_in(incomplete))


def is_from(job: Job, pids: Collection[int]) -> bool:
    """Whether the job's last attempt was made by one of these processes."""
    _, pid, _ = (job.owner or "::").rsplit(":", 2)
    return pid.isdigit() and int(pid) in pids


def _pixels(data: bytes) -> bytes:
    with PictureFile.open(BytesIO(data)) as picture:
        return picture.tobytes()


def _success_violations(
    job: Job, successes: int, images: list[Image], blobs: Blobs, model: Null, previous_pids: Collection[int]
) -> list[str]:
    """Return the violations of a job that succeeded. Another release's pictures have equal pixels in another file."""
    found: list[str] = []
    if job.lease_until is not None:
        found.append(f"{job.id}: still leased")
    if successes != 1:
        found.append(f"{job.id}: succeeded {successes} times")
    spec = JobSpec.model_validate(job.spec)
    if [image.image_index for image in images] != list(range(spec.n)):
        found.append(f"{job.id}: {len(images)} images for {spec.n}")
    for image in images:
        seed = spec.image_seed(image.image_index)
        alone = encode_png(pictures_of(model.decode([NullState(ImageTask(spec, seed))]))[0], xmp(spec, seed))
        stored = blobs.get(image.sha256)
        if stored != alone and not (is_from(job, previous_pids) and _pixels(stored) == _pixels(alone)):
            found.append(f"{image.id}: not the bytes of the job run alone")
    return found
