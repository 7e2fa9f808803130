"""What must be true once the faults are over: nothing lost, nothing twice, nothing left."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Mapping

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from limner_shared.db.engine import Database
from limner_shared.db.tables import Bulk, Event, Image, Job
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobSpec, JobState
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_worker.generators.base import ImageTask
from limner_worker.generators.null import Null, NullState
from limner_worker.stages.picture_files import encode_png
from limner_worker.stages.provenance import xmp


class Watcher(threading.Thread):
    """Looks at the jobs again and again meanwhile: a version never goes back, an end is never left."""

    def __init__(self, database: Database) -> None:
        super().__init__(daemon=True)
        self._database = database
        self._seen: dict[str, tuple[int, str]] = {}
        self._stopping = threading.Event()
        self.faults: list[str] = []

    def run(self) -> None:
        while not self._stopping.wait(0.3):
            try:
                with self._database.read() as session:
                    rows = session.execute(select(Job.id, Job.version, Job.state)).all()
            except SQLAlchemyError:
                continue  # the database is what is being hurt
            for job_id, version, state in rows:
                before, was = self._seen.get(job_id, (0, "queued"))
                if version < before:
                    self.faults.append(f"{job_id}: version {before} went back to {version}")
                if JobState(was).terminal and state != was:
                    self.faults.append(f"{job_id}: {was} became {state}")
                self._seen[job_id] = (version, state)

    def stop(self) -> list[str]:
        self._stopping.set()
        self.join()
        return self.faults


def faults(
    database: Database,
    settings: Settings,
    accepted: set[str],
    allowed: Mapping[str, set[str]] = {},
    damaged_inputs: Collection[str] = (),
) -> list[str]:
    """Every broken promise, as a sentence; none if all is well.

    `allowed`: other ends than success that a fault may have given a job; `damaged_inputs`: inputs whose jobs may fail.
    """
    blobs = Blobs(settings.resolved_blob_url)
    model = Null(Catalogue.load(settings.models, settings.default_model).get("null"))
    found: list[str] = []
    with database.read() as session:
        jobs = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_(accepted)))}
        images = session.scalars(select(Image).where(Image.job_id.in_(accepted))).all()
        ends = Counter(
            session.scalars(select(Event.job_id).where(Event.job_id.in_(accepted), Event.kind == "succeeded"))
        )
        # A bulk that was never complete is deleted bit by bit; its jobs were accepted from nobody.
        unfinished = select(Bulk.id).where(Bulk.state.in_(("loading", "dropping", "canceling", "canceled")))
        complete = Job.bulk_id.is_(None) | Job.bulk_id.not_in(unfinished)
        strangers = session.scalars(select(Job.id).where(Job.id.not_in(accepted), complete)).all()
    found += [f"{job_id}: accepted and lost" for job_id in accepted - jobs.keys()]
    found += [f"{job_id}: made twice from one request" for job_id in strangers]
    of_job: dict[str, list[Image]] = {job_id: [] for job_id in jobs}
    for image in images:
        of_job[image.job_id].append(image)
    for job in jobs.values():
        if job.state == JobState.SUCCEEDED:
            found += _of_success(job, ends[job.id], of_job[job.id], blobs, model)
        else:
            others = allowed.get(job.id, set())
            if job.spec.get("image") in damaged_inputs:
                others = others | {"damaged_input", "not_found"}
            if job.state not in others and job.error_code not in others:
                found.append(f"{job.id}: {job.state} {job.error_code or ''}")
    return found


def _of_success(job: Job, ends: int, images: list[Image], blobs: Blobs, model: Null) -> list[str]:
    """What is wrong with a job that succeeded."""
    found: list[str] = []
    if job.lease_until is not None:
        found.append(f"{job.id}: still leased")
    if ends != 1:
        found.append(f"{job.id}: succeeded {ends} times")
    spec = JobSpec.model_validate(job.spec)
    if [image.image_index for image in images] != list(range(spec.n)):
        found.append(f"{job.id}: {len(images)} images for {spec.n}")
    for image in images:
        seed = spec.image_seed(image.image_index)
        alone = encode_png(model.decode([NullState(ImageTask(spec, seed))]).pictures()[0], xmp(spec, seed))
        if blobs.get(image.sha256) != alone:
            found.append(f"{image.id}: not the bytes that the job makes alone")
    return found
