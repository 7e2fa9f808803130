"""A picture store that fails says why, and half a picture is never returned."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from obstore.exceptions import GenericError
from PIL import Image

from limner_shared import metrics
from limner_shared.errors import ObjectLost, StorageFailed
from limner_shared.storage.blobs import ASIDE, INPUTS, RENDITIONS, Blobs, SetAsideBlob, picture_key
from limner_shared.storage.media_types import media_type
from limner_shared.storage.object_store import Store
from limner_shared.storage_failures import StorageReason, reason_of

TEXTS = {
    "status code: 507 Insufficient Storage: <Code>XMinioStorageFull</Code>": StorageReason.FULL,
    "status code: 403 Forbidden: <Error><Code>QuotaExceeded</Code></Error>": StorageReason.FULL,
    "Unable to copy data to file: No space left on device (os error 28)": StorageReason.FULL,
    "status code: 403 Forbidden: <Error><Code>RequestTimeTooSkewed</Code></Error>": StorageReason.CLOCK,
    "status code: 403 Forbidden: <Error><Code>InvalidAccessKeyId</Code></Error>": StorageReason.DENIED,
    "Unable to open file: Permission denied (os error 13)": StorageReason.DENIED,
    "status code: 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>": StorageReason.NO_BUCKET,
    "status code: 503 Service Unavailable: <Code>SlowDown</Code>": StorageReason.BUSY,
    "status code: 500 Internal Server Error": StorageReason.SERVER,
    "HTTP error: error sending request HttpError { kind: Timeout, source: TimedOut }": StorageReason.TIMEOUT,
    "HTTP error: error sending request HttpError { kind: Connect, Os { code: 111 } }": StorageReason.UNREACHABLE,
    "HTTP error: request or response body error HttpError { kind: Interrupted }": StorageReason.CUT,
    "something new": StorageReason.OTHER,
}


@pytest.mark.parametrize(("text", "reason"), TEXTS.items())
def test_the_reason_of_a_failure_is_read_from_what_the_store_answered(text: str, reason: StorageReason):
    assert reason_of(GenericError(text)) is reason


def test_a_picture_whose_bytes_are_missing_or_damaged_is_not_returned_and_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lost: list[dict[str, str]] = []

    def record(**labels: str) -> None:
        lost.append(labels)

    monkeypatch.setattr(metrics.LOST_OBJECTS, "inc", record)
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(b"a whole picture")
    file = tmp_path / picture_key(digest)
    file.write_bytes(b"a whole")
    with pytest.raises(ObjectLost, match="damaged"):
        blobs.get(digest)
    file.unlink()
    with pytest.raises(ObjectLost, match="no longer stored"):
        blobs.get(digest)
    with pytest.raises(ObjectLost, match="no longer stored"):
        blobs.get_file_part("file_1", 0)
    assert [tuple(labels.values()) for labels in lost] == [
        ("picture", "damaged"),
        ("picture", "missing"),
        ("file", "missing"),
    ]


def test_bytes_that_were_damaged_on_their_way_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(b"a whole picture")
    whole, answers = Store.get, [b"a whole"]

    def get(store: Store, key: str) -> bytes | None:
        return answers.pop() if answers else whole(store, key)

    monkeypatch.setattr(Store, "get", get)
    assert blobs.get(digest) == b"a whole picture"


@pytest.mark.parametrize("folder", ["", INPUTS])
def test_a_picture_that_is_put_back_between_two_reads_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
):
    blobs, data = Blobs(tmp_path.as_uri()), b"a whole picture"
    digest = blobs.put_input(data) if folder else blobs.put(data)
    assert (blobs.set_aside_input if folder else blobs.set_aside)(digest, -1.0)
    read, blob = Store.get, SetAsideBlob(folder, digest)

    def get(store: Store, key: str) -> bytes | None:
        found = read(store, key)
        if found is None and not key.startswith(ASIDE):
            blobs.put_back(blob)
        return found

    monkeypatch.setattr(Store, "get", get)
    assert (blobs.get_input if folder else blobs.get)(digest) == data


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_a_rendition_of_which_a_part_is_left_or_a_byte_is_changed_counts_as_missing(tmp_path: Path, kind: str):
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).convert("RGB").save(buffer, kind)
    blobs, data = Blobs(tmp_path.as_uri()), buffer.getvalue()
    blobs.put_rendition("ab" * 32, f"full.{kind}", data)
    assert blobs.get_rendition("ab" * 32, f"full.{kind}") == data
    [file] = [each for each in (tmp_path / RENDITIONS).rglob("*") if each.is_file()]
    stored = file.read_bytes()
    half = len(stored) // 2
    changed = stored[:half] + bytes([stored[half] ^ 1]) + stored[half + 1 :]
    for left in (b"", stored[:half], stored[:-1], stored[:half] + bytes(len(stored) - half), changed):
        file.write_bytes(left)
        assert blobs.get_rendition("ab" * 32, f"full.{kind}") is None
    blobs.put_rendition("ab" * 32, f"full.{kind}", data)
    assert blobs.get_rendition("ab" * 32, f"full.{kind}") == data


def test_renditions_of_other_releases_are_left_to_them_and_deleted_with_the_picture(tmp_path: Path):
    """A release before those with a checksum reads and writes files that have none."""
    blobs, data = Blobs(tmp_path.as_uri()), b"\xff\xd8 a picture \xff\xd9"
    digest = blobs.put(data)
    folder = tmp_path / RENDITIONS / digest[:2] / digest
    folder.mkdir(parents=True)
    (folder / "full.jpeg").write_bytes(data)
    assert blobs.get_rendition(digest, "full.jpeg") is None
    blobs.put_rendition(digest, "full.jpeg", data)
    assert (folder / "full.jpeg").read_bytes() == data, "the other release would serve a checksum"
    assert blobs.set_aside(digest, -1)
    blobs.delete(SetAsideBlob("", digest))
    assert list(folder.iterdir()) == []


def test_a_bucket_keeps_renditions_as_clients_get_them():
    blobs = Blobs("memory://")
    blobs.put_rendition("ab" * 32, "full.jpeg", b"a picture")
    key = blobs.key_in_place("ab" * 32, "full.jpeg")
    assert key is not None
    assert media_type(key) == "image/jpeg"
    assert blobs._store.get(key) == blobs.get_rendition("ab" * 32, "full.jpeg") == b"a picture"


def test_a_store_that_returns_other_bytes_than_were_written_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def get(_store: Store, _key: str) -> bytes:
        return b"other bytes"

    Blobs(tmp_path.as_uri()).check()
    monkeypatch.setattr(Store, "get", get)
    with pytest.raises(StorageFailed, match="does not return what was written"):
        Blobs(tmp_path.as_uri()).check()
