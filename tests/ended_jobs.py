"""Jobs that ended some days ago, with pictures, and what is left of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from limner_dispatcher.blob_sweep import BlobSweep
from limner_dispatcher.retention import Retention
from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import NewImage
from limner_shared.db.tables import Job, Tenant
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.domain.scenes import Scene
from limner_shared.errors import GenerationFailed, NotFound
from limner_shared.storage.blobs import Blobs

TENANT = ledger.LOCAL_TENANT

RECEIPT = {"seed": 7, "drawn_as": "red apple", "scene": {"objects": [{"said": "apple", "name": "red apple"}]}}

KEEPER = "tenant_keeper"

DAY = 86400.0

NO_GRACE = -1.0


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(f"file://{tmp_path / 'blobs'}")


@pytest.fixture
def make_ended_job(database: Database, catalogue: Catalogue, blobs: Blobs) -> Callable[..., str]:
    """Creates a job that ended `days` ago: succeeded with these pictures, or failed without any; returns its id."""

    def make_ended_job(*pictures: bytes, days: float = 0, tenant: str = TENANT) -> str:
        card, spec = catalogue.resolve(JobRequest(prompt="a red apple", seed=7))
        scene = Scene.read(RECEIPT["scene"])  # a replay has that of the receipts
        spec = spec.model_copy(update={"negative_prompt": "worms", "dropped_negative": "leaves", "scene": scene})
        new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL, metadata={"mine": 1})
        images = [NewImage(blobs.put(data), "image/png", 64, 64, len(data), 7, RECEIPT) for data in pictures]
        with database.write() as session:
            ledger.ensure_tenant(session, tenant, tenant)
            job_id = ledger.submit(session, tenant, [new]).changes[0].id
            [claim] = ledger.claim(session, [job_id], "a worker", 60)
            if images:
                ledger.finish(session, [ledger.Result(job_id, claim.attempt, images)])
            else:
                ledger.fail(session, ledger.Result(job_id, claim.attempt, error=GenerationFailed()))
            change_end = update(Job).where(Job.id == job_id).values(finished_at=now() - days * DAY)
            session.execute(change_end)
        return job_id

    return make_ended_job


def set_retention(database: Database, tenant: str = TENANT, **days: float) -> None:
    with database.write() as session:
        session.execute(update(Tenant).where(Tenant.id == tenant).values(**days))


def run_retention(database: Database, blobs: Blobs, grace: float = NO_GRACE) -> None:
    Retention(database, blobs, grace).run()
    BlobSweep(database, blobs, aside_seconds=grace).finish_deletions()


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def is_stored(blobs: Blobs, data: bytes) -> bool:
    try:
        return blobs.get(hashlib.sha256(data).hexdigest()) == data
    except NotFound:
        return False
