"""Objects for which the store refuses some calls: they are deleted all the same, and hold up no others."""

from __future__ import annotations

import pytest
from tests.ended_jobs import NO_GRACE, count, run_retention
from tests.refusing_stores import refusing

from limner_dispatcher import retention
from limner_dispatcher.retention import Retention
from limner_shared.circuit_breaker import Breaker
from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.db.many_rows import insert_many
from limner_shared.db.tables import Garbage, Input
from limner_shared.errors import ObjectLost, StorageFailed
from limner_shared.storage.blobs import FILES, INPUTS, Blobs
from limner_shared.storage.object_store import FAILURES, OPEN_SECONDS, PROBE


@pytest.fixture
def bucket() -> Blobs:
    return Blobs("memory:///")


def stored(blobs: Blobs) -> list[str]:
    return sorted(key for page in blobs._store.sizes("") for key in page if key != PROBE)


def give_up(database: Database, digests: list[str]) -> None:
    """Mark inputs as given up, in this order."""
    with database.write() as session:
        insert_many(session, Input, [{"sha256": digest} for digest in digests])


@pytest.mark.parametrize("operations", [("copy",), ("copy", "get")])
def test_an_object_that_cannot_be_copied_is_deleted_all_the_same(bucket: Blobs, operations: tuple[str, ...]):
    digest, given = bucket.put(b"picture"), bucket.put_input(b"input")
    refusing(bucket, operations, digest, given)
    assert not bucket.set_aside(digest, unless_written_within=60), "it was written lately"
    assert bucket.set_aside(digest, unless_written_within=NO_GRACE)
    assert bucket.set_aside_input(given, unless_written_within=NO_GRACE)
    aside = [f"aside/{digest[:2]}/{digest}", f"aside/{INPUTS}/{given}"]
    assert stored(bucket) == ([] if "get" in operations else sorted(aside)), "readable bytes are set aside"


def test_no_object_is_deleted_because_the_whole_store_refuses_reads(bucket: Blobs):
    digest = bucket.put(b"picture")
    refusing(bucket, ("copy", "get"), digest, PROBE)
    with pytest.raises(StorageFailed):
        bucket.set_aside(digest, unless_written_within=NO_GRACE)
    assert stored(bucket) == [f"{digest[:2]}/{digest}"]


def test_inputs_that_cannot_be_deleted_hold_up_no_others(
    database: Database, bucket: Blobs, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(retention, "ROWS", 2)
    locked = [bucket.put_input(b"locked %d" % number) for number in range(5)]
    refusing(bucket, ("delete",), *locked)
    give_up(database, [*locked, bucket.put_input(b"another")])
    for _ in range(4):
        Retention(database, bucket, NO_GRACE)._delete_inputs()
    assert {key for key in stored(bucket) if key.startswith(INPUTS)} == {f"{INPUTS}/{digest}" for digest in locked}
    assert count(database, Input) == len(locked), "they are tried again"


def test_old_objects_that_cannot_be_deleted_hold_up_no_others(bucket: Blobs):
    for name in ("a", "b", "c"):
        bucket.put_file_part(name, 0, b"part")
    refusing(bucket, ("delete",), "a.0", "b.0")
    assert bucket.drop_older(FILES, NO_GRACE) == (1, {"denied": 2})
    assert stored(bucket) == [f"{FILES}/a.0", f"{FILES}/b.0"]


def test_blobs_set_aside_that_cannot_be_deleted_hold_up_no_others(database: Database, bucket: Blobs):
    digests = sorted(bucket.put(b"picture %d" % number) for number in range(3))
    with database.write() as session:
        ledger.schedule_blob_deletion(session, digests)
    refusing(bucket, ("delete",), f"aside/{digests[0][:2]}", f"aside/{digests[1][:2]}")
    run_retention(database, bucket)
    assert count(database, Garbage) == 0
    with pytest.raises(ObjectLost):
        bucket.get(digests[2])
    assert bucket.get(digests[0])


@pytest.mark.parametrize("operation", ["delete", "copy", "head"])
def test_objects_that_refuse_a_call_do_not_close_the_store(bucket: Blobs, operation: str):
    vars(bucket._store)["_breaker"] = Breaker(FAILURES, OPEN_SECONDS, OPEN_SECONDS)
    bucket._store.put("locked", b"part")
    refusing(bucket, (operation,), "locked")
    calls = {"delete": bucket._store.delete, "head": bucket._store.age}
    for _ in range(2 * FAILURES):
        with pytest.raises(StorageFailed):
            calls[operation]("locked") if operation in calls else bucket._store.move("locked", "elsewhere")
    assert bucket.trouble == ""
