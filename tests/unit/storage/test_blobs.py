"""The picture store, in a folder and in a bucket."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from obstore.exceptions import GenericError
from tests.buckets import denying_bucket, unresponsive_bucket

from limner_shared.errors import ConfigurationError, NotFound, StorageFailed, StorageFull
from limner_shared.storage import buckets, syncing
from limner_shared.storage.blobs import INPUTS, Blobs, SetAsideBlob, picture_key
from limner_shared.storage.media_types import media_type
from limner_shared.storage.object_store import FAILURES, PROBE, Store
from limner_shared.storage.signed_urls import UrlSigner
from limner_shared.storage_failures import StorageReason, is_full, reason_of


def test_equal_bytes_are_stored_once_under_their_digest(tmp_path: Path):
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(b"picture")
    assert digest == blobs.put(b"picture") == hashlib.sha256(b"picture").hexdigest()
    assert blobs.get(digest) == b"picture"
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 1


def test_an_unknown_digest_is_not_found(tmp_path: Path):
    with pytest.raises(NotFound):
        Blobs(tmp_path.as_uri()).get("ab" * 32)


def test_a_failed_write_raises_storage_failed(tmp_path: Path):
    blobs = Blobs((tmp_path / "store").as_uri())
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("a file where the folder was")
    with pytest.raises(StorageFailed):
        blobs.put(b"picture")


def test_a_full_disk_is_distinguished_from_other_failures():
    assert is_full(GenericError("Unable to copy data to file: No space left on device (os error 28)"))
    assert not is_full(GenericError("Permission denied (os error 13)"))


def test_put_syncs_a_picture_to_disk_and_a_checkpoint_is_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced: list[Path] = []
    fsync = os.fsync

    def record(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(b"picture")
    # first the new folder's entry, then the bytes in a temporary file, then the final file's entry
    assert [path.parent if digest in path.name else path for path in synced] == [
        tmp_path,
        tmp_path / digest[:2],
        tmp_path / digest[:2],
    ]
    assert digest in synced[1].name
    synced.clear()
    blobs.store_checkpoint("job-0", b"checkpoint")
    assert synced == []


Damage = Callable[[bytes], bytes]


def first_three(data: bytes) -> bytes:
    return data[:3]


def all_but_one(data: bytes) -> bytes:
    return data[:-1]


def altered(data: bytes) -> bytes:
    return b"?" + data[1:]


def emptied(_: bytes) -> bytes:
    return b""


def replaced(_: bytes) -> bytes:
    return b"x"


def as_file_system(kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the folder's file system be taken for one of this type."""
    device = folder.stat().st_dev
    mounts = folder / "mountinfo"
    mounts.write_text(f"27 1 {os.major(device)}:{os.minor(device)} / / rw shared:1 - {kind} /dev/vda rw\n")
    monkeypatch.setattr(syncing, "MOUNTS", mounts)
    has_syncfs = syncing.has_syncfs.__wrapped__  # without its cache
    monkeypatch.setattr(syncing, "has_syncfs", has_syncfs)


@pytest.mark.parametrize(
    ("kind", "steps"),
    [
        ("ext4", ["syncfs"] + ["replace"] * 3 + ["syncfs"]),
        ("fuse.sshfs", ["fsync"] * 3 + ["replace"] * 3 + ["fsync"] * 2),
    ],
)
def test_a_group_of_pictures_is_synced_before_any_gets_its_name_in_one_call_where_that_is_safe(
    kind: str, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    as_file_system(kind, tmp_path, monkeypatch)
    events: list[str] = []

    def note(owner: Any, call: str) -> None:
        real: Callable[..., object] = getattr(owner, call)

        def noted(*args: Any) -> object:
            events.append(call)
            return real(*args)

        monkeypatch.setattr(owner, call, noted)

    note(os, "fsync")
    note(syncing, "syncfs")
    note(os, "replace")
    store = Store((tmp_path / "store").as_uri())
    for folder in ("ab", "cd"):
        (tmp_path / "store" / folder).mkdir()
    store.put_all(dict.fromkeys(("ab/1", "ab/2", "cd/3"), b"picture"))
    assert events == steps


@pytest.mark.skipif(sys.platform != "linux", reason="syncfs is a call of Linux")
def test_a_group_whose_sync_fails_is_refused_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    as_file_system("ext4", tmp_path, monkeypatch)

    def fail(_: int) -> None:
        raise OSError(errno.EIO, "the disk lost a write")

    monkeypatch.setattr(syncing, "syncfs", fail)
    store = Store((tmp_path / "store").as_uri())
    with pytest.raises(StorageFailed):
        store.put_all({"a/1": b"picture", "a/2": b"picture"})
    assert not [file for file in (tmp_path / "store").rglob("*") if file.is_file()]


@pytest.mark.skipif(sys.platform != "linux", reason="syncfs is a call of Linux")
def test_a_failed_syncfs_raises_what_the_system_reported():
    with pytest.raises(OSError, match="Bad file descriptor"):
        syncing.syncfs(-1)


def test_a_group_that_cannot_be_written_leaves_no_partial_file(tmp_path: Path):
    store = Store(tmp_path.as_uri())
    (tmp_path / "b").write_text("a file where a folder is needed")
    with pytest.raises(StorageFailed):
        store.put_all({"a/1": b"picture", "b/2": b"picture"})
    assert [file.name for file in tmp_path.rglob("*") if file.is_file()] == ["b"]


@pytest.mark.parametrize("damage", [first_three, altered, emptied])
def test_a_damaged_input_image_is_not_returned_and_is_replaced_when_stored_again(tmp_path: Path, damage: Damage):
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put_input(b"an input")
    file = tmp_path / "inputs" / digest
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(NotFound, match="damaged"):
        blobs.get_input(digest)
    blobs.put_input(b"an input")
    assert blobs.get_input(digest) == b"an input"


@pytest.mark.parametrize("damage", [all_but_one, altered, emptied, replaced])
def test_a_damaged_checkpoint_is_detected(tmp_path: Path, damage: Damage):
    blobs = Blobs(tmp_path.as_uri())
    blobs.store_checkpoint("job-0", b"checkpoint")
    assert blobs.load_checkpoint("job-0") == b"checkpoint"
    [file] = (tmp_path / "half-made").iterdir()
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(StorageFailed, match="damaged"):
        blobs.load_checkpoint("job-0")
    blobs.delete_checkpoint("job-0")
    assert blobs.load_checkpoint("job-0") is None


@pytest.fixture
def unresponsive_blobs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Blobs]:
    """A bucket whose server accepts connections and never responds."""
    monkeypatch.setattr(buckets, "REQUEST_SECONDS", 0.2)
    monkeypatch.setattr(buckets, "RETRIES", 1)
    with unresponsive_bucket(monkeypatch) as url:
        yield Blobs(url)


def test_an_unresponsive_bucket_times_out_and_then_opens_the_circuit_breaker(unresponsive_blobs: Blobs):
    for _ in range(FAILURES):
        with pytest.raises(StorageFailed, match="cannot be used"):
            unresponsive_blobs.put(b"picture")
    with pytest.raises(StorageFailed, match="tried again in a few seconds"):
        unresponsive_blobs.get("ab" * 32)


@pytest.mark.parametrize("returns_others", [True, False])
def test_objects_that_are_denied_close_the_store_only_if_it_denies_everything(
    returns_others: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(buckets, "RETRIES", 0)
    with denying_bucket(monkeypatch, returns=("ab", PROBE) if returns_others else ()) as url:
        store, archived = Store(url), [f"{number:064}" for number in range(2 * FAILURES)]
        for key in archived:
            with pytest.raises(StorageFailed):
                store.get(key)
        assert store.trouble == ("" if returns_others else "denied")
        if returns_others:
            assert store.get("ab" * 32) == b"picture"


@pytest.mark.parametrize("encryption", ["sse:kms", "sse-c", "AES512"])
def test_an_encryption_that_the_client_cannot_ask_for_is_refused_at_the_start(
    encryption: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_SERVER_SIDE_ENCRYPTION", encryption)
    with pytest.raises(ConfigurationError, match="AWS_SERVER_SIDE_ENCRYPTION"):
        Blobs("s3://pictures")


def test_blobs_that_are_set_aside_can_be_read_until_their_final_deletion(tmp_path: Path):
    blobs = Blobs(tmp_path.as_uri())
    digest, given = blobs.put(b"picture"), blobs.put_input(b"input")
    assert not blobs.set_aside(digest, unless_written_within=60)
    assert blobs.set_aside(digest, unless_written_within=-1)
    assert blobs.set_aside_input(given, unless_written_within=-1)
    assert (blobs.get(digest), blobs.get_input(given)) == (b"picture", b"input")
    assert list(blobs.list_set_aside(60)) == [[]]
    [page] = blobs.list_set_aside(-1)
    assert sorted(page) == [("", digest), ("inputs", given)]
    blobs.put_back(page[page.index(SetAsideBlob("", digest))])
    blobs.delete(page[page.index(SetAsideBlob("inputs", given))])
    assert blobs.get(digest) == b"picture"
    with pytest.raises(NotFound):
        blobs.get_input(given)


def test_signed_urls_need_a_bucket_and_name_the_address_of_clients(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for url in (tmp_path.as_uri(), "memory:///"):
        with pytest.raises(ConfigurationError, match="needs a bucket"):
            UrlSigner(url)
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "s", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    signer = UrlSigner("s3://pictures/limner", "https://bucket.example")
    assert signer.origin == "https://bucket.example"
    url = signer.sign("GET", "ab/cd", 60)
    assert url.startswith("https://bucket.example/pictures/limner/ab/cd?")
    assert "X-Amz-Expires=60" in url


def test_a_path_in_place_of_a_url_is_refused_with_what_to_write(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="must be a URL"):
        Blobs(str(tmp_path))


def test_empty_variables_of_a_cloud_count_as_not_set(monkeypatch: pytest.MonkeyPatch):
    for name, value in {"ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "s", "REGION": "eu-west-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    for name in ("ENDPOINT", "ENDPOINT_URL", "SERVER_SIDE_ENCRYPTION", "ALLOW_HTTP"):
        monkeypatch.setenv(f"AWS_{name}", "")
    assert UrlSigner("s3://pictures").origin == "https://s3.eu-west-1.amazonaws.com"


def test_only_pictures_and_renditions_have_a_media_type():
    digest = "ab" * 32
    keys = [picture_key(digest), f"renditions/ab/{digest}/512.webp", f"aside/ab/{digest}", f"inputs/{digest}"]
    assert [media_type(key) for key in keys] == ["image/png", "image/webp", None, None]


def test_a_store_without_room_for_a_second_copy_is_freed_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    blobs = Blobs(tmp_path.as_uri())
    picture, given = blobs.put(b"picture"), blobs.put_input(b"input")

    def full(*_: object) -> bool:
        raise StorageFull

    monkeypatch.setattr(Store, "move", full)
    assert not blobs.set_aside(picture, unless_written_within=60), "it was written lately"
    assert blobs.set_aside(picture, unless_written_within=-1)
    assert blobs.get(picture) == b"picture", "it is set aside"
    monkeypatch.setattr(Store, "put", full)
    assert blobs.set_aside_input(given, unless_written_within=-1)
    assert not list((tmp_path / INPUTS).iterdir())


class FullDisk:
    """In place of obstore's store: a disk on which nothing is possible any more."""

    def __getattr__(self, _name: str) -> Any:
        def refuse(*_: object, **__: object) -> Any:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

        return refuse


def test_only_writing_raises_that_a_store_is_full(tmp_path: Path):
    store = Store(tmp_path.as_uri())
    vars(store).update(_store=FullDisk(), folder=None)
    with pytest.raises(StorageFull):
        store.put("a", b"b")
    for call in (store.get, store.delete, store.age):
        with pytest.raises(StorageFailed) as failed:
            call("a")
        assert reason_of(failed.value) is StorageReason.FULL
