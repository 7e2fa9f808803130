"""Retention: what its tenant no longer keeps is deleted, and pictures only after nobody refers to them."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from sqlalchemy import func, select, update
from tests.processes import eventually

from limner_dispatcher import retention
from limner_dispatcher.blob_sweep import BlobSweep
from limner_dispatcher.retention import Cleaner
from limner_shared.db import ledger
from limner_shared.db.engine import Database, now
from limner_shared.db.ledger import NewImage
from limner_shared.db.tables import Event, Garbage, Image, Job, Tenant
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.errors import GenerationFailed, NotFound, StorageFailed
from limner_shared.storage.blobs import FOLDERS, INPUTS, Blobs
from limner_shared.storage.object_store import Store

TENANT = ledger.LOCAL_TENANT
KEEPER = "tenant_keeper"
DAY = 86400.0
NO_GRACE = -1.0
GRACE = 3600.0


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(f"file://{tmp_path / 'blobs'}")


@pytest.fixture
def end(database: Database, catalogue: Catalogue, blobs: Blobs) -> Callable[..., str]:
    """Make a job that ended so many days ago with these pictures, or without any: failed."""

    def end(*pictures: bytes, days: float = 0, tenant: str = TENANT) -> str:
        card, spec = catalogue.resolve(JobRequest(prompt="a red apple", negative_prompt="worms", seed=7))
        new = ledger.NewJob(spec, card.cost(spec), Priority.NORMAL, metadata={"mine": 1})
        images = [NewImage(blobs.put(data), "image/png", 64, 64, len(data), 7, {}) for data in pictures]
        with database.write() as session:
            ledger.ensure_tenant(session, tenant, tenant)
            job_id = ledger.submit(session, tenant, [new]).changes[0].id
            [claim] = ledger.claim(session, [job_id], "a worker", 60)
            if images:
                ledger.finish(session, [ledger.Result(job_id, claim.attempt, images)])
            else:
                ledger.fail(session, ledger.Result(job_id, claim.attempt, error=GenerationFailed()))
            ended = update(Job).where(Job.id == job_id).values(finished_at=now() - days * DAY)
            session.execute(ended)
        return job_id

    return end


def keep(database: Database, tenant: str = TENANT, **days: float) -> None:
    with database.write() as session:
        session.execute(update(Tenant).where(Tenant.id == tenant).values(**days))


def clean(database: Database, blobs: Blobs, grace: float = NO_GRACE) -> None:
    Cleaner(database, blobs, grace).clean()
    BlobSweep(database, blobs, aside_seconds=grace).purge()


def jobs(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(Job.id)))


def job(database: Database, job_id: str) -> Job:
    with database.read() as session:
        found = session.get(Job, job_id)
    assert found is not None
    return found


def count(database: Database, table: type) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def pass_time(database: Database, seconds: float) -> None:
    """As if what was given up had been so much longer ago."""
    with database.write() as session:
        session.execute(update(Garbage).values(since=Garbage.since - seconds))


def is_stored(blobs: Blobs, data: bytes) -> bool:
    try:
        return blobs.get(hashlib.sha256(data).hexdigest()) == data
    except NotFound:
        return False


def age_files(folder: Path, seconds: float) -> None:
    """As if every blob had been written so long ago."""
    for file in (folder / "blobs").rglob("*"):
        if file.is_file():
            os.utime(file, (time.time() - seconds,) * 2)


def fail(*_: object, **__: object) -> bool:
    raise StorageFailed


def test_images_go_after_their_days_and_the_job_stays(database, blobs, end):
    keep(database, keep_images_days=7)
    old, young = end(b"old", days=7.01), end(b"young", days=6.99)
    clean(database, blobs)
    assert jobs(database) == {old, young}
    with database.read() as session:
        assert list(session.scalars(select(Image.job_id))) == [young]
    assert (is_stored(blobs, b"old"), is_stored(blobs, b"young")) == (False, True)
    assert job(database, old).spec["prompt"] == "a red apple"


def test_prompts_and_metadata_go_after_their_days_and_everything_else_of_the_job_stays(database, blobs, end):
    keep(database, keep_prompts_days=7)
    old, young = end(b"old", days=7.01), end(b"young", days=6.99)
    before = job(database, old).spec
    clean(database, blobs)
    assert job(database, old).spec == before | {"prompt": "", "negative_prompt": ""}
    assert job(database, old).extra == {}
    assert (job(database, young).spec, job(database, young).extra) == (before, {"mine": 1})
    assert count(database, Image) == 2


def test_whole_jobs_go_after_their_days_with_their_images_and_events(database, blobs, end):
    keep(database, keep_jobs_days=7)
    _, failed, young = end(b"old", b"older", days=7.01), end(days=7.01), end(b"young", days=6.99)
    clean(database, blobs)
    assert failed not in jobs(database)
    assert jobs(database) == {young}
    with database.read() as session:
        assert set(session.scalars(select(Image.job_id))) == {young}
        assert set(session.scalars(select(Event.job_id))) == {young}
    assert [is_stored(blobs, data) for data in (b"old", b"older", b"young")] == [False, False, True]


def test_each_tenant_has_its_own_days_and_who_names_none_keeps_everything(database, blobs, end):
    kept, gone = end(b"kept", days=9999, tenant=KEEPER), end(b"gone", days=2)
    longer = end(b"longer", days=2, tenant="tenant_longer")
    keep(database, keep_images_days=1, keep_prompts_days=1, keep_jobs_days=1)
    keep(database, "tenant_longer", keep_images_days=3, keep_prompts_days=3, keep_jobs_days=3)
    clean(database, blobs)
    assert jobs(database) == {kept, longer}
    assert gone not in jobs(database)
    assert job(database, kept).spec["prompt"] == job(database, longer).spec["prompt"] == "a red apple"
    assert count(database, Image) == 2
    assert is_stored(blobs, b"kept")
    assert is_stored(blobs, b"longer")


def test_what_has_not_ended_is_never_deleted(database, catalogue, blobs):
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple"))
    keep(database, keep_images_days=0, keep_prompts_days=0, keep_jobs_days=0)
    with database.write() as session:
        queued, running = (
            change.id
            for change in ledger.submit(session, TENANT, [ledger.NewJob(spec, 1, Priority.NORMAL)] * 2).changes
        )
        ledger.claim(session, [running], "a worker", 60)
        session.execute(update(Job).values(created_at=0.0))
    clean(database, blobs)
    assert jobs(database) == {queued, running}
    assert job(database, queued).spec["prompt"] == "a red apple"


def test_a_picture_that_two_images_share_stays_until_both_are_gone(database, blobs, end):
    keep(database, keep_images_days=7)
    end(b"shared", days=8)
    younger = end(b"shared", days=1)
    clean(database, blobs)
    assert count(database, Image) == 1
    assert is_stored(blobs, b"shared")
    with database.write() as session:
        session.execute(update(Job).where(Job.id == younger).values(finished_at=now() - 8 * DAY))
    clean(database, blobs)
    assert count(database, Image) == 0
    assert not is_stored(blobs, b"shared")


def test_a_picture_shared_with_another_tenant_stays(database, blobs, end):
    keep(database, keep_jobs_days=7)
    end(b"shared", days=8)
    end(b"shared", days=8, tenant=KEEPER)
    clean(database, blobs)
    assert is_stored(blobs, b"shared")
    assert count(database, Garbage) == 0


def test_a_picture_stays_until_it_has_been_given_up_for_a_while(database, blobs, end, tmp_path):
    keep(database, keep_images_days=7)
    end(b"old", days=8)
    age_files(tmp_path, 9 * DAY)
    clean(database, blobs, GRACE)
    assert is_stored(blobs, b"old")
    pass_time(database, GRACE + 1)
    clean(database, blobs, GRACE)
    assert is_stored(blobs, b"old"), "it is only set aside"
    assert count(database, Garbage) == 0
    age_files(tmp_path, GRACE + 1)
    clean(database, blobs, GRACE)
    assert not is_stored(blobs, b"old")


def test_a_picture_written_anew_within_the_grace_is_kept_for_whoever_is_about_to_refer_to_it(
    database, blobs, end, tmp_path
):
    keep(database, keep_images_days=7)
    end(b"old", days=8)
    age_files(tmp_path, 9 * DAY)
    clean(database, blobs, GRACE)
    pass_time(database, GRACE + 1)
    blobs.put(b"old")  # a worker stores the same picture again, and has not committed its result
    clean(database, blobs, GRACE)
    assert is_stored(blobs, b"old")
    with database.write() as session:
        assert ledger.collect_garbage(session, GRACE, 9) == [], "it is looked at again only after another while"

    end(b"old")
    age_files(tmp_path, GRACE + 1)
    pass_time(database, GRACE + 1)
    clean(database, blobs, GRACE)
    assert is_stored(blobs, b"old")
    assert count(database, Garbage) == 0


def test_a_picture_that_the_store_would_not_delete_is_deleted_later(database, blobs, end, monkeypatch):
    keep(database, keep_images_days=7)
    end(b"old", days=8)
    with monkeypatch.context() as broken:
        broken.setattr(Blobs, "delete", fail)
        clean(database, blobs)
    assert is_stored(blobs, b"old")
    clean(database, blobs)
    assert not is_stored(blobs, b"old")


def test_what_is_more_than_fits_into_one_transaction_goes_in_the_next_calls_and_then_it_rests(
    database, blobs, end, monkeypatch
):
    monkeypatch.setattr(retention, "ROWS", 2)
    keep(database, keep_jobs_days=7)
    end(b"other", days=8, tenant=KEEPER)
    keep(database, KEEPER, keep_jobs_days=7)
    for number in range(4):
        end(b"%d" % number, days=8)
    cleaner = Cleaner(database, blobs, NO_GRACE)
    left = []
    for _ in range(3):
        cleaner.clean()
        left.append(len(jobs(database)))
    assert left == [3, 1, 0]
    end(days=8)
    cleaner.clean()
    assert len(jobs(database)) == 1


# --- equal pictures that are stored at the moment of a deletion, and pictures without a row ---


def refer(database: Database, end: Callable[..., str], digest: str) -> None:
    """As the commit of a job's result does: a row that refers to a stored picture."""
    job_id = end(b"another")
    with database.write() as session:
        session.execute(update(Image).where(Image.job_id == job_id).values(sha256=digest))


def purge(database: Database, blobs: Blobs) -> None:
    BlobSweep(database, blobs, aside_seconds=NO_GRACE).purge()


@pytest.fixture
def any_blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    """A folder, and a bucket as all are: without a rename, and without a deletion on a condition."""
    return Blobs((tmp_path / "any").as_uri() if request.param == "folder" else "memory:///")


@pytest.mark.parametrize(
    ("any_blobs", "moment"),
    [("folder", "age"), ("folder", "get"), ("bucket", "age"), ("bucket", "delete"), ("bucket", "get")],
    indirect=["any_blobs"],
)
def test_a_picture_stored_again_at_any_moment_of_its_deletion_keeps_its_bytes(
    database, any_blobs, end, monkeypatch, moment
):
    data = b"the same picture"
    digest = any_blobs.put(data)
    store = any_blobs._store
    eventually(lambda: (store.age(f"{digest[:2]}/{digest}") or 0) > 0.3)
    original = getattr(Store, moment)
    again: list[str] = []

    def coincide(self: Store, key: str, *more: object) -> object:
        if moment == "age":  # the first look says that it is old
            found = original(self, key, *more)
        if not again:
            again.append(any_blobs.put(data))
            refer(database, end, digest)
        return found if moment == "age" else original(self, key, *more)

    monkeypatch.setattr(Store, moment, coincide)
    any_blobs.delete(digest, unless_written_within=0.3)
    assert any_blobs.get(digest) == data, "also before the next cleaning"
    assert again
    monkeypatch.undo()
    purge(database, any_blobs)
    assert any_blobs.get(digest) == data
    assert list(any_blobs.set_aside(NO_GRACE)) in ([], [[]])


def test_of_hundreds_of_pictures_stored_while_they_are_deleted_each_keeps_its_bytes(database, blobs, end, tmp_path):
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
            blobs.delete(digest, unless_written_within=GRACE)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(store), pool.submit(delete)]:
            done.result(60)
    assert [blobs.get(digest) for digest in digests] == pictures


def test_of_hundreds_of_inputs_stored_during_a_cleaning_none_is_deleted(blobs, tmp_path):
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


def look_everywhere(database: Database, blobs: Blobs, young: float) -> None:
    sweep = BlobSweep(database, blobs, young_seconds=young)
    for _ in FOLDERS:
        sweep.look()


def test_a_picture_without_a_row_is_found_given_up_and_deleted(database, blobs, end, tmp_path):
    end(b"with a row")
    blobs.put(b"of a canceled job")
    age_files(tmp_path, 9 * DAY)
    look_everywhere(database, blobs, GRACE)
    assert count(database, Garbage) == 1
    assert is_stored(blobs, b"of a canceled job"), "it may yet get its row"
    clean(database, blobs, NO_GRACE)
    assert not is_stored(blobs, b"of a canceled job")
    assert is_stored(blobs, b"with a row")


def test_a_picture_that_was_stored_a_moment_ago_may_still_get_its_row(database, blobs):
    blobs.put(b"young")
    look_everywhere(database, blobs, GRACE)
    assert count(database, Garbage) == 0


def test_a_found_picture_that_gets_its_row_after_all_stays(database, blobs, end, tmp_path):
    digest = blobs.put(b"late")
    age_files(tmp_path, 9 * DAY)
    look_everywhere(database, blobs, GRACE)
    refer(database, end, digest)
    clean(database, blobs, NO_GRACE)
    assert is_stored(blobs, b"late")


def test_what_a_writer_left_that_died_in_the_middle_is_deleted_after_a_day(database, blobs, tmp_path):
    blobs.put(b"whole")
    [file] = [file for file in (tmp_path / "blobs").rglob("*") if file.is_file()]
    part = file.with_name(f".{file.name}.1.2")
    part.write_bytes(b"who")
    look_everywhere(database, blobs, NO_GRACE)
    assert part.exists()
    age_files(tmp_path, 2 * DAY)
    look_everywhere(database, blobs, GRACE)
    assert (part.exists(), file.exists()) == (False, True)
