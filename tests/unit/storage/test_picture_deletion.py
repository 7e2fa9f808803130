"""A picture is deleted only once no row refers to it, also while others store it again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import update
from tests.ended_jobs import (
    DAY,
    KEEPER,
    NO_GRACE,
    blobs,
    count,
    is_stored,
    make_ended_job,
    run_retention,
    set_retention,
)
from tests.processes import eventually

from limner_dispatcher.blob_sweep import BlobSweep
from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.tables import Garbage, Image, Job
from limner_shared.errors import StorageFailed
from limner_shared.storage.blobs import FOLDERS, INPUTS, Blobs
from limner_shared.storage.object_store import Store

__all__ = ["blobs", "make_ended_job"]

GRACE = 3600.0


def pass_time(database: Database, seconds: float) -> None:
    """Move the start of all pending deletions into the past, in seconds."""
    with database.write() as session:
        session.execute(update(Garbage).values(since=Garbage.since - seconds))


def age_files(folder: Path, seconds: float) -> None:
    """Set the age of every blob's file, in seconds."""
    for file in (folder / "blobs").rglob("*"):
        if file.is_file():
            os.utime(file, (time.time() - seconds, time.time() - seconds))


def fail(*_: object, **__: Any) -> bool:
    raise StorageFailed


def test_a_picture_shared_by_two_images_is_kept_until_both_are_deleted(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str]
):
    set_retention(database, keep_images_days=7)
    make_ended_job(b"shared", days=8)
    younger = make_ended_job(b"shared", days=1)
    run_retention(database, blobs)
    assert count(database, Image) == 1
    assert is_stored(blobs, b"shared")
    with database.write() as session:
        session.execute(update(Job).where(Job.id == younger).values(finished_at=now() - 8 * DAY))
    run_retention(database, blobs)
    assert count(database, Image) == 0
    assert not is_stored(blobs, b"shared")


def test_a_picture_shared_with_another_tenant_is_kept(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str]
):
    set_retention(database, keep_jobs_days=7)
    make_ended_job(b"shared", days=8)
    make_ended_job(b"shared", days=8, tenant=KEEPER)
    run_retention(database, blobs)
    assert is_stored(blobs, b"shared")
    assert count(database, Garbage) == 0


def test_a_picture_is_deleted_only_after_both_grace_periods(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], tmp_path: Path
):
    set_retention(database, keep_images_days=7)
    make_ended_job(b"old", days=8)
    age_files(tmp_path, 9 * DAY)
    run_retention(database, blobs, GRACE)
    assert is_stored(blobs, b"old")
    pass_time(database, GRACE + 1)
    run_retention(database, blobs, GRACE)
    assert is_stored(blobs, b"old"), "the picture was deleted before the second grace period"
    assert count(database, Garbage) == 0
    age_files(tmp_path, GRACE + 1)
    run_retention(database, blobs, GRACE)
    assert not is_stored(blobs, b"old")


def test_a_picture_stored_again_within_the_grace_period_is_kept(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], tmp_path: Path
):
    set_retention(database, keep_images_days=7)
    make_ended_job(b"old", days=8)
    age_files(tmp_path, 9 * DAY)
    run_retention(database, blobs, GRACE)
    pass_time(database, GRACE + 1)
    blobs.put(b"old")  # a worker stores the same picture again, and has not committed its result
    run_retention(database, blobs, GRACE)
    assert is_stored(blobs, b"old")
    with database.write() as session:
        assert ledger.collect_garbage(session, GRACE, 9) == [], "the deletion was not postponed"

    make_ended_job(b"old")
    age_files(tmp_path, GRACE + 1)
    pass_time(database, GRACE + 1)
    run_retention(database, blobs, GRACE)
    assert is_stored(blobs, b"old")
    assert count(database, Garbage) == 0


def test_a_failed_deletion_of_a_picture_is_retried(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    set_retention(database, keep_images_days=7)
    make_ended_job(b"old", days=8)
    with monkeypatch.context() as broken:
        broken.setattr(Blobs, "set_aside", fail)
        run_retention(database, blobs)
    assert is_stored(blobs, b"old")
    run_retention(database, blobs)
    assert not is_stored(blobs, b"old")


def add_reference(database: Database, make_ended_job: Callable[..., str], digest: str) -> None:
    """Create a row that refers to a stored picture, as the commit of a job's result does."""
    job_id = make_ended_job(b"another")
    with database.write() as session:
        session.execute(update(Image).where(Image.job_id == job_id).values(sha256=digest))


def purge(database: Database, blobs: Blobs) -> None:
    BlobSweep(database, blobs, aside_seconds=NO_GRACE).finish_deletions()


@pytest.fixture
def any_blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """A folder, or a bucket, which has no rename and no conditional deletion."""
    return Blobs((tmp_path / "any").as_uri() if request.param == "folder" else "memory:///")


@pytest.mark.parametrize(
    ("any_blobs", "moment"),
    [("folder", "age"), ("folder", "get"), ("bucket", "age"), ("bucket", "delete"), ("bucket", "get")],
    indirect=["any_blobs"],
)
def test_a_picture_stored_again_at_any_moment_of_its_deletion_is_kept(
    database: Database,
    any_blobs: Blobs,
    make_ended_job: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    moment: str,
):
    data = b"the same picture"
    digest = any_blobs.put(data)
    store = any_blobs._store
    grace = 1.5 if moment == "age" else 0.3  # there, the store is asked again before it has passed
    eventually(lambda: (store.age(f"{digest[:2]}/{digest}") or 0) > grace)
    original = getattr(Store, moment)
    again: list[str] = []

    def store_again(self: Store, key: str, *more: object) -> object:
        if moment == "age":  # the first check reports that it is old
            found = original(self, key, *more)
        if not again:
            again.append(any_blobs.put(data))
            add_reference(database, make_ended_job, digest)
        return found if moment == "age" else original(self, key, *more)

    monkeypatch.setattr(Store, moment, store_again)
    any_blobs.set_aside(digest, unless_written_within=grace)
    assert any_blobs.get(digest) == data, "the picture was missing before the next cleaning"
    if moment == "age":
        assert any_blobs.key_in_place(digest) is not None, "it was set aside although it had just been written"
    assert again
    monkeypatch.undo()
    purge(database, any_blobs)
    assert any_blobs.get(digest) == data
    assert list(any_blobs.list_set_aside(NO_GRACE)) in ([], [[]])


def test_a_hundred_pictures_stored_during_their_deletion_are_kept(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], tmp_path: Path
):
    pictures = [b"picture %d" % number for number in range(100)]
    digests = [blobs.put(data) for data in pictures]
    age_files(tmp_path, DAY)
    together = Barrier(2)

    def store() -> None:
        for data in pictures:
            together.wait(30)
            blobs.put(data)

    def delete() -> None:
        for digest in digests:
            together.wait(30)
            blobs.set_aside(digest, unless_written_within=GRACE)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(store), pool.submit(delete)]:
            done.result(60)
    assert [blobs.get(digest) for digest in digests] == pictures


def test_a_hundred_input_images_stored_during_a_cleaning_are_kept(blobs: Blobs, tmp_path: Path):
    inputs = [b"input %d" % number for number in range(100)]
    digests = [blobs.put_input(data) for data in inputs]
    age_files(tmp_path, 40 * DAY)
    together = Barrier(2)

    def store() -> None:
        together.wait(30)
        for data in inputs:
            blobs.put_input(data)

    def drop() -> None:
        together.wait(30)
        blobs.drop_older(INPUTS, 30 * DAY)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(store), pool.submit(drop)]:
            done.result(60)
    assert [blobs.get_input(digest) for digest in digests] == inputs


def sweep_all_folders(database: Database, blobs: Blobs, young: float) -> None:
    sweep = BlobSweep(database, blobs, young_seconds=young)
    for _ in FOLDERS:
        sweep.mark_unreferenced()


def test_a_picture_without_a_row_is_found_and_deleted(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], tmp_path: Path
):
    make_ended_job(b"with a row")
    blobs.put(b"of a canceled job")
    age_files(tmp_path, 9 * DAY)
    sweep_all_folders(database, blobs, GRACE)
    assert count(database, Garbage) == 1
    assert is_stored(blobs, b"of a canceled job"), "the picture was deleted before it could get its row"
    run_retention(database, blobs, NO_GRACE)
    assert not is_stored(blobs, b"of a canceled job")
    assert is_stored(blobs, b"with a row")


def test_a_new_picture_without_a_row_is_not_scheduled_for_deletion(database: Database, blobs: Blobs):
    blobs.put(b"young")
    sweep_all_folders(database, blobs, GRACE)
    assert count(database, Garbage) == 0


def test_a_picture_that_gets_its_row_after_it_was_found_is_kept(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], tmp_path: Path
):
    digest = blobs.put(b"late")
    age_files(tmp_path, 9 * DAY)
    sweep_all_folders(database, blobs, GRACE)
    add_reference(database, make_ended_job, digest)
    run_retention(database, blobs, NO_GRACE)
    assert is_stored(blobs, b"late")


def test_temporary_files_of_dead_writers_are_deleted_after_a_day(database: Database, blobs: Blobs, tmp_path: Path):
    blobs.put(b"whole")
    [file] = [file for file in (tmp_path / "blobs").rglob("*") if file.is_file()]
    part = file.with_name(f".{file.name}.1.2")
    part.write_bytes(b"who")
    sweep_all_folders(database, blobs, NO_GRACE)
    assert part.exists()
    age_files(tmp_path, 2 * DAY)
    sweep_all_folders(database, blobs, GRACE)
    assert (part.exists(), file.exists()) == (False, True)
