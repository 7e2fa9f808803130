"""Retention: expired data is deleted for each tenant, and only jobs that ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update
from tests.ended_jobs import (
    KEEPER,
    NO_GRACE,
    RECEIPT,
    TENANT,
    blobs,
    count,
    is_stored,
    make_ended_job,
    run_retention,
    set_retention,
)

from limner_dispatcher import retention
from limner_dispatcher.item_runner import ItemRunner
from limner_dispatcher.retention import Retention
from limner_shared.db import ledger
from limner_shared.db.accounts import audit, keys
from limner_shared.db.engine import Database, is_away, now
from limner_shared.db.ledger.erasure import Forgotten
from limner_shared.db.many_rows import insert_many
from limner_shared.db.tables import ApiKey, Event, Image, Input, Job
from limner_shared.domain.access import Expiry
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Priority
from limner_shared.errors import ObjectLost
from limner_shared.storage.blobs import Blobs

__all__ = ["blobs", "make_ended_job"]


def jobs(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(Job.id)))


def job(database: Database, job_id: str) -> Job:
    with database.read() as session:
        found = session.get(Job, job_id)
    assert found is not None
    return found


def test_expired_images_are_deleted_without_their_jobs(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str]
):
    set_retention(database, keep_images_days=7)
    old, young = make_ended_job(b"old", days=7.01), make_ended_job(b"young", days=6.99)
    run_retention(database, blobs)
    assert jobs(database) == {old, young}
    with database.read() as session:
        assert list(session.scalars(select(Image.job_id))) == [young]
    assert (is_stored(blobs, b"old"), is_stored(blobs, b"young")) == (False, True)
    assert job(database, old).spec["prompt"] == "a red apple"


def test_expired_prompts_and_metadata_are_deleted_without_their_jobs(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str]
):
    set_retention(database, keep_prompts_days=7)
    old, young = make_ended_job(b"old", days=7.01), make_ended_job(b"young", days=6.99)
    before = job(database, old).spec
    run_retention(database, blobs)
    words: dict[str, object] = {
        "prompt": "",
        "negative_prompt": "",
        "dropped_negative": "",
        "description": None,
        "history": [],
        "scene": None,
    }
    assert job(database, old).spec == before | words
    assert job(database, old).extra == {}
    with database.read() as session:
        receipts = {image.job_id: image.receipt for image in session.scalars(select(Image))}
    assert receipts == {old: {"seed": 7}, young: RECEIPT}
    assert (job(database, young).spec, job(database, young).extra) == (before, {"mine": 1})
    assert count(database, Image) == 2


def test_expired_jobs_are_deleted_with_their_images_and_events(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str]
):
    set_retention(database, keep_jobs_days=7)
    _, failed, young = (
        make_ended_job(b"old", b"older", days=7.01),
        make_ended_job(days=7.01),
        make_ended_job(b"young", days=6.99),
    )
    run_retention(database, blobs)
    assert failed not in jobs(database)
    assert jobs(database) == {young}
    with database.read() as session:
        assert set(session.scalars(select(Image.job_id))) == {young}
        assert set(session.scalars(select(Event.job_id))) == {young}
    assert [is_stored(blobs, data) for data in (b"old", b"older", b"young")] == [False, False, True]


def test_each_tenant_has_its_own_retention_and_by_default_keeps_everything(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str]
):
    kept, gone = make_ended_job(b"kept", days=9999, tenant=KEEPER), make_ended_job(b"gone", days=2)
    longer = make_ended_job(b"longer", days=2, tenant="tenant_longer")
    set_retention(database, keep_images_days=1, keep_prompts_days=1, keep_jobs_days=1)
    set_retention(database, "tenant_longer", keep_images_days=3, keep_prompts_days=3, keep_jobs_days=3)
    run_retention(database, blobs)
    assert jobs(database) == {kept, longer}
    assert gone not in jobs(database)
    assert job(database, kept).spec["prompt"] == job(database, longer).spec["prompt"] == "a red apple"
    assert count(database, Image) == 2
    assert is_stored(blobs, b"kept")
    assert is_stored(blobs, b"longer")


def test_a_tenant_with_many_expired_jobs_does_not_hold_up_anothers(
    database: Database, make_ended_job: Callable[..., str]
):
    names = ("tenant_x", "tenant_y", "tenant_z")
    few = {name: make_ended_job(name.encode(), days=9, tenant=name) for name in names}
    set_retention(database, keep_jobs_days=1)
    for name in names:
        set_retention(database, name, keep_jobs_days=1)
    for number in range(100):
        make_ended_job(str(number).encode(), days=9)
    for _ in range(90):  # each with room for one job of some tenant
        with database.write() as session:
            assert ledger.forget_jobs(session, 1) == 1
    assert jobs(database).isdisjoint(few.values())


def test_jobs_that_have_not_ended_are_never_deleted(database: Database, catalogue: Catalogue, blobs: Blobs):
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple"))
    set_retention(database, keep_images_days=0, keep_prompts_days=0, keep_jobs_days=0)
    with database.write() as session:
        queued, running = (
            change.id
            for change in ledger.submit(session, TENANT, [ledger.NewJob(spec, 1, Priority.NORMAL)] * 2).changes
        )
        ledger.claim(session, [running], "a worker", 60)
        session.execute(update(Job).values(created_at=0.0))
    run_retention(database, blobs)
    assert jobs(database) == {queued, running}
    assert job(database, queued).spec["prompt"] == "a red apple"


def test_expired_jobs_are_deleted_in_several_transactions_and_then_cleaning_pauses(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "ROWS", 2)
    set_retention(database, keep_jobs_days=7)
    make_ended_job(b"other", days=8, tenant=KEEPER)
    set_retention(database, KEEPER, keep_jobs_days=7)
    for number in range(4):
        make_ended_job(b"%d" % number, days=8)
    passes = Retention(database, blobs, NO_GRACE)
    left: list[int] = []
    for _ in range(4):
        passes.run()
        left.append(len(jobs(database)))
    assert left == [3, 1, 0, 0]
    make_ended_job(days=8)
    passes.run()
    assert len(jobs(database)) == 1


def test_a_backlog_of_one_kind_is_worked_off_by_its_task_alone_but_delays_no_other_for_long(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "ROWS", 1)
    set_retention(database, keep_jobs_days=7)
    for number in range(5):
        make_ended_job(b"%d" % number, days=8)
    asked: list[int] = []

    def note(*_: object) -> int:
        asked.append(len(jobs(database)))
        return 0

    monkeypatch.setattr(keys, "record_expired", note)
    passes = Retention(database, blobs, NO_GRACE)
    for _ in range(3):
        passes.run()
    assert (len(jobs(database)), asked) == (2, [4])
    monkeypatch.setattr(retention, "EVERY_SECONDS", 0.0)
    passes.run()
    assert asked == [4, 1]


def test_a_task_that_fails_is_a_failing_item_and_the_others_are_done(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str], monkeypatch: pytest.MonkeyPatch
):
    gone = make_ended_job(days=8)
    set_retention(database, keep_jobs_days=7, keep_images_days=1)
    seconds = 0.0
    runner = ItemRunner(is_away, clock=lambda: seconds)

    def divide(*_: object) -> int:
        return 1 // 0

    def refuse(*_: object) -> None:
        raise PermissionError("not allowed")

    tasks = Retention(database, blobs, NO_GRACE, runner=runner)
    with monkeypatch.context() as damaged:
        damaged.setattr(ledger, "forget_images", divide)
        damaged.setattr(blobs, "drop_older", refuse)
        tasks.run()
    assert gone not in jobs(database)
    failing = {item.duty: item.error for item in runner.failing_items()}
    assert failing == {"retention: images of a tenant": "ZeroDivisionError", "retention: old objects": "StorageFailed"}
    seconds = 9.0
    monkeypatch.setattr(retention, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(retention, "LISTED_EVERY_SECONDS", 0.0)
    tasks.run()
    assert runner.failing_items() == []


def test_a_damaged_row_of_a_tenant_keeps_nothing_of_the_others(
    database: Database, blobs: Blobs, make_ended_job: Callable[..., str]
):
    good, damaged = make_ended_job(b"ours", days=8), make_ended_job(b"theirs", days=8, tenant=KEEPER)
    for tenant in (TENANT, KEEPER):
        set_retention(database, tenant, keep_prompts_days=7)
    with database.write() as session:
        session.execute(update(Image).where(Image.job_id == damaged).values(receipt=5))
    seconds = 0.0
    runner = ItemRunner(is_away, clock=lambda: seconds)
    Retention(database, blobs, NO_GRACE, runner=runner).run()
    assert job(database, good).forgotten == Forgotten.PROMPT
    [item] = runner.failing_items()
    assert (item.duty, item.item, item.error) == ("retention: prompts of a tenant", KEEPER, "TypeError")
    later = make_ended_job(days=8)
    Retention(database, blobs, NO_GRACE, runner=runner).run()
    assert job(database, later).forgotten == Forgotten.PROMPT
    assert len(runner.failing_items()) == 1, "it waits for its retry"
    with database.write() as session:
        session.execute(update(Image).where(Image.job_id == damaged).values(receipt=RECEIPT))
    seconds = 400.0
    Retention(database, blobs, NO_GRACE, runner=runner).run()
    assert job(database, damaged).forgotten == Forgotten.PROMPT
    assert runner.failing_items() == []


def test_the_expiry_of_a_key_is_recorded(database: Database, blobs: Blobs):
    with database.write() as session:
        key = keys.create(session, "ours", "", expiry=Expiry(60, is_relative=True))
        session.execute(update(ApiKey).values(expires_at=now() - 1))
    run_retention(database, blobs)
    with database.read() as session:
        [entry, _] = audit.tenant_entries(session, session.scalars(select(ApiKey.tenant_id)).one(), 9)
    assert (entry.action, entry.subject) == ("key_expired", key.split("_")[1])


def test_no_input_is_deleted_before_all_jobs_of_earlier_releases_are_complete(
    database: Database, catalogue: Catalogue, blobs: Blobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "ROWS", 1)
    digests = [blobs.put_input(b"input %d" % number) for number in range(4)]
    for digest in digests:
        os.utime(tmp_path / "blobs" / "inputs" / digest, (0, 0))
    _, spec = catalogue.resolve(JobRequest(prompt="a red apple"))
    new = [ledger.NewJob(spec.model_copy(update={"image": digest}), 1, Priority.NORMAL) for digest in digests[:3]]
    with database.write() as session:
        ids = [change.id for change in ledger.submit(session, TENANT, new).changes]
        session.execute(delete(Input).where(Input.job_id != ids[2]))
        session.execute(update(Job).values(indexed=False))
        insert_many(session, Input, [{"sha256": digest} for digest in digests])
    for _ in range(8):
        run_retention(database, blobs)
    assert [blobs.get_input(digest) for digest in digests[:3]] == [b"input 0", b"input 1", b"input 2"]
    with pytest.raises(ObjectLost):
        blobs.get_input(digests[3])
    with database.read() as session:
        assert sorted(map(str, session.scalars(select(Input.job_id)))) == sorted(ids)
