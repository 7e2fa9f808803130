"""Deduplication: which requests are equal, which job waits for which, and what happens to the waiting jobs."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as Pillow
from sqlalchemy import delete, func, select, update
from tests.counters import counted
from tests.parameters import on_sqlite
from tests.processes import eventually

from limner_shared.db import ledger
from limner_shared.db.accounts import tenants
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import Claim, NewImage
from limner_shared.db.tables import Image, Job, Tenant
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.embeddings import VECTOR_BYTES, Embedding
from limner_shared.domain.jobs import JobRequest, Lane, Priority
from limner_shared.storage.blobs import Blobs
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.deduplication import Deduplicator, deduplication_keys

FINGERPRINT = {"model": "limner-flow", "weights": "abc", "device": "cpu"}
EMBEDDING = Embedding("tower:1", bytes(VECTOR_BYTES))
REQUEST = {"prompt": "a red apple", "seed": 7}


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(f"file://{tmp_path / 'blobs'}")


class Worker:
    """A worker without engine and publisher: it records the ids of drawn jobs and the images copied to other jobs."""

    def __init__(self, database: Database, blobs: Blobs, catalogue: Catalogue) -> None:
        self.database, self.blobs, self.catalogue = database, blobs, catalogue
        self.active: set[str] = set()
        self.drawn: list[str] = []
        self.copied: dict[str, list[NewImage]] = {}
        fingerprints = dict.fromkeys(catalogue.cards, FINGERPRINT)
        self.reuses = True
        self.deduplicator = Deduplicator(
            database,
            blobs,
            fingerprints,
            Supervisor(),
            self._is_active,
            self._draw,
            self._copy,
            lambda _claim, _receipts: self.reuses,
        )
        self.deduplicator.start()

    def _is_active(self, job: JobRun) -> bool:
        return job.id in self.active

    def _draw(self, jobs: Any) -> None:
        self.drawn += [job.id for job in jobs]

    def _copy(self, job: JobRun, images: Any) -> None:
        self.copied[job.id] = list(images)

    def claim(self, tenant: str = ledger.LOCAL_TENANT, lane: Lane = Lane.NORMAL, **request: Any) -> Claim:
        card, spec = self.catalogue.resolve(JobRequest.model_validate(REQUEST | request))
        with self.database.write() as session:
            new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)
            job_id = ledger.submit(session, tenant, [new]).changes[0].id
            [claim] = ledger.claim(session, [job_id], "a worker", 60)
        self.active.add(job_id)
        return replace(claim, lane=lane)

    def take(self, *claims: Claim) -> list[str]:
        self.deduplicator.submit([JobRun(claim, lambda: None) for claim in claims])
        return [claim.id for claim in claims]

    def finish(self, claim: Claim) -> None:
        """Store the job's picture and commit its result."""
        buffer = io.BytesIO()
        Pillow.new("RGB", (8, 8), "red").save(buffer, "PNG")
        digest = self.blobs.put(buffer.getvalue())
        images = [
            NewImage(
                digest,
                "image/png",
                8,
                8,
                100,
                claim.spec.image_seed(index),
                {"buckets": [[1, 2]]},
                deduplication_key=key,
                embedding=EMBEDDING,
            )
            for index, key in enumerate(deduplication_keys(claim, FINGERPRINT))
        ]
        with self.database.write() as session:
            ledger.finish(session, [ledger.Result(claim.id, claim.attempt, images)])
        self.end(claim)

    def draw_and_finish(self, claim: Claim) -> None:
        """Take the job, wait until it is drawn, and finish it."""
        self.take(claim)
        eventually(lambda: claim.id in self.drawn)
        self.finish(claim)

    def end(self, claim: Claim) -> None:
        """End the job, with or without a picture."""
        self.active.discard(claim.id)
        self.deduplicator.attempt_ended(JobRun(claim, lambda: None))

    def process_pending(self) -> None:
        """Wait until all earlier messages are processed."""
        [last] = self.take(self.claim(prompt=f"a probe {time.monotonic_ns()}"))
        eventually(lambda: last in self.drawn)
        self.drawn.remove(last)


@pytest.fixture
def worker(database: Database, blobs: Blobs, catalogue: Catalogue) -> Iterator[Worker]:
    set_sharing(database, "local")
    built = Worker(database, blobs, catalogue)
    yield built
    built.deduplicator.stop()


def set_sharing(database: Database, name: str, *, share: bool = True) -> str:
    with database.write() as session:
        tenants.change_tenant(session, name, {"share_results": share})
        return tenants.find_or_make(session, name)


def test_an_equal_request_gets_the_same_picture_and_its_receipt_names_the_source(worker: Worker):
    first, second = worker.claim(), worker.claim()
    worker.draw_and_finish(first)
    worker.take(second)
    [image] = eventually(lambda: worker.copied.get(second.id))
    assert image.receipt == {"buckets": [[1, 2]], "style": "noto", "shared_with": first.id}
    assert image.deduplication_key is None
    assert image.embedding == EMBEDDING
    assert worker.drawn == [first.id]


def test_a_style_chosen_by_the_seed_equals_the_same_style_by_name(worker: Worker):
    named, by_seed = (deduplication_keys(claim, FINGERPRINT) for claim in (worker.claim(style="noto"), worker.claim()))
    assert named == by_seed
    assert named != deduplication_keys(worker.claim(style="3d"), FINGERPRINT)


def outcomes() -> list[float]:
    """The hits and the misses of the shared results; the probe of `process_pending` is a miss."""
    return [counted("limner_cache_requests_total", cache="results", result=result) for result in ("hit", "miss")]


def test_requests_wait_while_an_equal_one_is_drawn(worker: Worker):
    first, *others = claims = [worker.claim() for _ in range(5)]
    before = outcomes()
    worker.take(*claims)
    worker.process_pending()
    assert worker.drawn == [first.id]
    assert not worker.copied
    worker.finish(first)
    eventually(lambda: set(worker.copied) == {claim.id for claim in others})
    assert worker.drawn == [first.id]
    assert [after - was for after, was in zip(outcomes(), before, strict=True)] == [4, 2], (
        "those that waited count once"
    )


def test_a_waiting_job_is_drawn_if_the_first_is_lost(worker: Worker):
    first, second, third = (worker.claim() for _ in range(3))
    worker.take(first, second, third)
    worker.process_pending()
    worker.end(first)
    eventually(lambda: worker.drawn == [first.id, second.id])
    worker.process_pending()
    worker.finish(second)
    eventually(lambda: set(worker.copied) == {third.id})


def test_a_job_that_ended_while_waiting_is_not_drawn(worker: Worker):
    first, second, third = (worker.claim() for _ in range(3))
    worker.take(first, second, third)
    worker.process_pending()
    worker.end(second)
    worker.end(first)
    eventually(lambda: worker.drawn == [first.id, third.id])


def test_a_job_does_not_wait_for_one_of_a_lower_lane(worker: Worker):
    slow, urgent = worker.claim(lane=Lane.LOW), worker.claim(lane=Lane.FIRST)
    worker.take(slow)
    worker.process_pending()
    worker.take(urgent)
    eventually(lambda: worker.drawn == [slow.id, urgent.id])


@on_sqlite
@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a green apple"},
        {"seed": 8},
        {"steps": 3},
        {"guidance": 1.5},
        {"reproducible": True},
        {"provenance": False},
        {"n": 2},
    ],
    ids=str,
)
def test_requests_with_different_results_are_drawn_separately(worker: Worker, other: dict[str, Any]):
    first, second = worker.claim(), worker.claim(**other)
    worker.draw_and_finish(first)
    worker.take(second)
    eventually(lambda: worker.drawn == [first.id, second.id])


def test_one_picture_of_a_multi_picture_job_is_shared(worker: Worker):
    two_pictures, second = worker.claim(n=2), worker.claim(seed=8)
    worker.draw_and_finish(two_pictures)
    worker.take(second)
    assert [image.seed for image in eventually(lambda: worker.copied.get(second.id))] == [8]


def test_pictures_are_not_shared_between_tenants(worker: Worker):
    other = set_sharing(worker.database, "other")
    first, second = worker.claim(), worker.claim(tenant=other)
    worker.draw_and_finish(first)
    worker.take(second)
    eventually(lambda: worker.drawn == [first.id, second.id])


def test_nothing_is_shared_unless_the_tenant_allows_it(worker: Worker):
    set_sharing(worker.database, "local", share=False)
    claims = [worker.claim(), worker.claim()]
    assert worker.take(*claims) == worker.drawn
    assert deduplication_keys(claims[0], FINGERPRINT) == ()


def test_a_replay_is_drawn_again(worker: Worker):
    first, again = worker.claim(), worker.claim()
    worker.draw_and_finish(first)
    spec = again.spec.model_copy(update={"replay": ((1, 1),)})
    worker.take(replace(again, spec=spec))
    assert worker.drawn == [first.id, again.id]


def test_the_deduplication_key_depends_on_the_weights(worker: Worker):
    claim = worker.claim()
    [key], [other_key] = (
        deduplication_keys(claim, FINGERPRINT),
        deduplication_keys(claim, FINGERPRINT | {"weights": "def"}),
    )
    assert key != other_key


def test_a_prompt_whose_weights_are_followed_is_another_than_the_same_text(worker: Worker):
    first = worker.claim(prompt="a (red:1.4) apple")
    assert first.spec.prompt == "a red apple"  # this model draws it without its weights
    assert deduplication_keys(first, FINGERPRINT) == deduplication_keys(worker.claim(prompt="a red apple"), FINGERPRINT)
    written = {"prompt": "a (red:1.4) apple", "plain_words": False}
    of_text, weighted = (
        replace(first, spec=first.spec.model_copy(update=written | {"version": version})) for version in (1, 3)
    )
    assert deduplication_keys(of_text, FINGERPRINT) != deduplication_keys(weighted, FINGERPRINT)


def test_a_description_with_equal_conditions_is_an_equal_request(worker: Worker):
    plain = worker.claim()
    described = replace(plain, spec=plain.spec.model_copy(update={"description": "please, a red apple"}))
    assert deduplication_keys(described, FINGERPRINT) == deduplication_keys(plain, FINGERPRINT)


def test_deleted_pictures_are_drawn_again(worker: Worker):
    first, second, third = (worker.claim() for _ in range(3))
    worker.draw_and_finish(first)
    with worker.database.write() as session:
        digest = session.scalars(select(Image.sha256)).one()
    worker.blobs.set_aside(digest, unless_written_within=-1)
    for page in worker.blobs.list_set_aside(-1):
        for blob in page:
            worker.blobs.delete(blob)  # deletes the bytes and keeps the row
    worker.take(second)
    eventually(lambda: worker.drawn == [first.id, second.id])
    with worker.database.write() as session:
        session.execute(delete(Image))
    worker.end(second)
    worker.take(third)
    eventually(lambda: worker.drawn == [first.id, second.id, third.id])


def test_a_damaged_picture_is_not_shared(worker: Worker):
    first, second = worker.claim(), worker.claim()
    worker.draw_and_finish(first)
    with worker.database.read() as session:
        digest = session.scalars(select(Image.sha256)).one()
    assert worker.blobs.folder is not None
    (worker.blobs.folder / digest[:2] / digest).write_bytes(b"damaged")
    worker.take(second)
    eventually(lambda: worker.drawn == [first.id, second.id])
    assert not worker.copied


def test_sharing_a_picture_renews_its_write_time_to_protect_it_from_retention(worker: Worker):
    first, second = worker.claim(), worker.claim()
    worker.draw_and_finish(first)
    with worker.database.read() as session:
        digest = session.scalars(select(Image.sha256)).one()
    assert worker.blobs.folder is not None
    file = worker.blobs.folder / digest[:2] / digest
    os.utime(file, (1, 1))
    worker.take(second)
    eventually(lambda: second.id in worker.copied)
    assert not worker.blobs.set_aside(digest, unless_written_within=60)


def test_deleting_prompts_also_deletes_the_deduplication_keys(worker: Worker):
    first = worker.claim()
    worker.draw_and_finish(first)
    with worker.database.write() as session:
        session.execute(update(Tenant).values(keep_prompts_days=1.0))
        session.execute(update(Job).values(finished_at=now() - 2 * 86400))
        assert ledger.forget_prompts(session, 10) == 1
        assert session.scalar(select(func.count()).where(Image.deduplication_key.is_not(None))) == 0


def test_jobs_are_drawn_if_the_database_lookup_fails(worker: Worker, monkeypatch: pytest.MonkeyPatch):
    claim = worker.claim()
    monkeypatch.setattr(worker.deduplicator, "_find_images", _broken)
    worker.take(claim)
    eventually(lambda: worker.drawn == [claim.id])


def _broken(*_: object) -> Callable[..., object]:
    raise RuntimeError("away")
