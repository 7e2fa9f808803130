"""Storing the pictures of several jobs as a group."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluators import Blind
from tests.processes import eventually

from limner_shared.circuit_breaker import Breaker
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.embeddings import Embedding
from limner_shared.domain.jobs import JobRequest, JobSpec, Lane, Priority
from limner_shared.errors import GenerationFailed, StorageFailed, StorageFull
from limner_shared.messaging.hints import Hints, connect
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.stages import storing
from limner_worker.stages.interpretation.presenting.presenter import Presenter
from limner_worker.stages.picture_files import PictureEncoder
from limner_worker.stages.publishing import STORING_THREADS, Publisher
from limner_worker.stages.recognising import Look
from limner_worker.stages.safety import SafetyStage
from limner_worker.stages.storing import PictureStorage


class FailingBlobs(Blobs):
    """A picture store whose first writes fail."""

    def __init__(self, url: str, errors: Sequence[Exception]) -> None:
        super().__init__(url)
        self.errors = list(errors)
        self.groups: list[int] = []

    def put_all(self, pictures: Sequence[bytes]) -> list[str]:
        self.groups.append(len(pictures))
        if self.errors:
            raise self.errors.pop(0)
        return super().put_all(pictures)


def jobs(count: int) -> list[tuple[JobRun, dict[str, Any]]]:
    """Finished runs of two pictures each, with the fingerprint of their model."""
    spec = JobSpec(model="null", prompt="a cat", seed=1, width=64, height=64, steps=1, guidance=1.0, n=2)
    runs = [JobRun(Claim(f"job-{i}", "local", None, 1, 2, Lane.NORMAL, spec), lambda: None) for i in range(count)]
    for number, run in enumerate(runs):
        for row in run.rows:
            row.picture = np.full((64, 64, 3), (number + row.index) % 256, np.uint8)
    return [(run, {}) for run in runs]


def encoder() -> PictureEncoder:
    settings = Settings()
    return PictureEncoder.of(settings, SafetyStage(settings, {}))


def storage(blobs: Blobs) -> PictureStorage:
    return PictureStorage(blobs, Breaker(3, 1, 1), threading.Event(), encoder())


def test_the_pictures_of_several_jobs_are_stored_in_one_group(tmp_path: Path):
    blobs = FailingBlobs(tmp_path.as_uri(), [])
    outcomes = storage(blobs).store(jobs(3))
    assert blobs.groups == [6]
    images = [image for outcome in outcomes if outcome.result for image in outcome.result.images]
    assert len(images) == 6
    assert all(len(blobs.get(image.sha256)) == image.size_bytes for image in images)


class Evaluator(Blind):
    """Names the first pixel of each picture, or fails."""

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.batches: list[int] = []

    def look(self, pictures: Sequence[np.ndarray]) -> list[Look]:
        self.batches.append(len(pictures))
        if self.fails:
            raise RuntimeError("no memory")
        return [Look(Embedding("tower:1", bytes([picture[0, 0, 0]])), np.zeros(1, np.float32)) for picture in pictures]


def test_the_pictures_of_a_group_are_embedded_in_one_batch_and_each_image_gets_its_own_vector(tmp_path: Path):
    evaluator, runs = Evaluator(), jobs(3)
    runs[1][0].rows[0].picture = None
    settings = Settings()
    files = PictureEncoder.of(settings, SafetyStage(settings, {}), {"null": evaluator})
    storage = PictureStorage(Blobs(tmp_path.as_uri()), Breaker(3, 1, 1), threading.Event(), files)
    results = {each.job.id: each.result for each in storage.store(runs) if each.result and not each.result.error}
    found = {name: [image.embedding for image in result.images] for name, result in results.items()}
    assert evaluator.batches == [4]
    vectors = {name: [bytes([number]), bytes([number + 1])] for name, number in (("job-0", 0), ("job-2", 2))}
    assert found == {name: [Embedding("tower:1", each) for each in those] for name, those in vectors.items()}


def test_pictures_that_cannot_be_embedded_are_stored_without_vectors(tmp_path: Path):
    settings = Settings()
    files = PictureEncoder.of(settings, SafetyStage(settings, {}), {"null": Evaluator(fails=True)})
    storage = PictureStorage(Blobs(tmp_path.as_uri()), Breaker(3, 1, 1), threading.Event(), files)
    [outcome] = storage.store(jobs(1))
    assert outcome.result is not None
    assert [image.embedding for image in outcome.result.images] == [None, None]


def test_a_job_without_a_picture_fails_alone(tmp_path: Path):
    runs = jobs(3)
    runs[1][0].rows[0].picture = None
    outcomes = {each.job.id: each.result for each in storage(Blobs(tmp_path.as_uri())).store(runs)}
    failed = {job for job, result in outcomes.items() if result is not None and result.error is not None}
    assert (len(outcomes), failed) == (3, {"job-1"})


@pytest.mark.parametrize("failure", [StorageFull, StorageFailed])
def test_a_store_that_is_full_or_fails_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: type[StorageFull | StorageFailed]
):
    monkeypatch.setattr(storing, "RETRY_SECONDS", 0)
    blobs = FailingBlobs(tmp_path.as_uri(), [failure(), failure()])
    outcomes = storage(blobs).store(jobs(2))
    assert blobs.groups == [4, 4, 4]
    assert all(each.result is not None and each.result.error is None for each in outcomes)


@pytest.mark.parametrize("failure", [StorageFull, StorageFailed])
def test_a_worker_that_stops_hands_its_jobs_back_uncharged_if_the_store_is_full_or_fails(
    tmp_path: Path, failure: type[StorageFull | StorageFailed]
):
    closing = threading.Event()
    closing.set()
    blobs = FailingBlobs(tmp_path.as_uri(), [failure()])
    outcomes = PictureStorage(blobs, Breaker(3, 1, 1), closing, encoder()).store(jobs(2))
    assert [(each.result, each.charged) for each in outcomes] == [(None, False)] * 2


def test_an_unexpected_error_costs_only_the_job_that_causes_it(tmp_path: Path):
    blobs = FailingBlobs(
        tmp_path.as_uri(), [RuntimeError("one"), RuntimeError("one")]
    )  # the group fails, then its first job alone
    outcomes = storage(blobs).store(jobs(3))
    assert blobs.groups == [6, 2, 2, 2]
    assert [(each.result is None, each.charged) for each in outcomes] == [(True, True), (False, True), (False, True)]


class SlowBlobs(Blobs):
    """A picture store that stores nothing before `go` is set."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.go = threading.Event()
        self.groups: list[int] = []

    def put_all(self, pictures: Sequence[bytes]) -> list[str]:
        self.groups.append(len(pictures))
        self.go.wait(30)
        return super().put_all(pictures)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_jobs_that_wait_for_a_slow_disk_are_stored_in_larger_groups(database: Database, redis_url: str, tmp_path: Path):
    blobs = SlowBlobs(tmp_path.as_uri())
    done: list[str] = []
    publisher = Publisher(
        database,
        blobs,
        Hints(connect(redis_url)),
        Supervisor(),
        Breaker(3, 1, 1),
        lambda run: done.append(run.id),
        lambda _: None,
        Presenter(None, {}),
        encoder(),
    )
    runs = [run for run, _ in jobs(44)]
    for busy, run in enumerate(runs[:STORING_THREADS], start=1):
        publisher.publish([run], {})
        eventually(lambda: len(blobs.groups) == busy)  # noqa: B023 - called at once
    for run in runs[STORING_THREADS:]:
        publisher.publish([run], {})
    blobs.go.set()
    publisher.close()
    assert blobs.groups[:STORING_THREADS] == [2] * STORING_THREADS
    assert sorted(blobs.groups[STORING_THREADS:]) == [16, 32, 32]
    assert sorted(done) == sorted(run.id for run in runs)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_job_keeps_no_pictures_after_its_end(database: Database, redis_url: str, tmp_path: Path):
    runs = [run for run, _ in jobs(2)]
    for run in runs:
        run.signed_inputs = {"image": b"a signed picture"}
    for row in (row for run in runs for row in run.rows):
        row.task.image = row.task.mask = row.task.control_image = row.picture
        row.task.reference_images = row.task.things = (np.zeros((8, 8, 3), np.uint8),)
    publisher = Publisher(
        database,
        Blobs(tmp_path.as_uri()),
        Hints(connect(redis_url)),
        Supervisor(),
        Breaker(3, 1, 1),
        lambda _: None,
        lambda _: None,
        Presenter(None, {}),
        encoder(),
    )
    publisher.publish(runs[:1], {})
    publisher.fail(runs[1], GenerationFailed())
    publisher.close()
    assert [run.signed_inputs for run in runs] == [{}, {}]
    for row in (row for run in runs for row in run.rows):
        task = row.task
        assert [row.picture, task.image, task.mask, task.control_image] == [None] * 4
        assert (*task.reference_images, *task.things) == ()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_checkpoints_are_deleted_with_a_result_and_stay_for_the_next_attempt_of_a_job_that_is_handed_back(
    database: Database, catalogue: Catalogue, redis_url: str, tmp_path: Path
):
    card, spec = catalogue.resolve(JobRequest(prompt="a cat", seed=7))
    new = [ledger.NewJob(spec, card.cost(spec), Priority.NORMAL)] * 4
    with database.write() as session:
        ids = [change.id for change in ledger.submit(session, ledger.LOCAL_TENANT, new).changes]
        claims = ledger.claim(session, ids, "me", 60)
    drawn, failing, returned, taken_over = runs = [JobRun(claim, lambda: None) for claim in claims]
    with database.write() as session:
        ledger.hand_back(session, [taken_over.key])
        ledger.claim(session, [taken_over.id], "another", 60)
    for run in runs:
        run.rows[0].picture = np.zeros((64, 64, 3), np.uint8)
    full = FailingBlobs(tmp_path.as_uri(), [StorageFull(), StorageFull()])
    deleted: list[str] = []
    hints, presenter = Hints(connect(redis_url)), Presenter(None, {})
    for blobs, ended in ((full, [returned]), (Blobs(tmp_path.as_uri()), [drawn, taken_over])):
        publisher = Publisher(
            database,
            blobs,
            hints,
            Supervisor(),
            Breaker(3, 1, 1),
            lambda _: None,
            lambda run: deleted.append(run.id),
            presenter,
            encoder(),
        )
        publisher.fail(failing, GenerationFailed())
        publisher.publish(ended, {})
        publisher.close()
    assert sorted(deleted) == sorted([drawn.id, failing.id])
