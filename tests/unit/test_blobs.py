"""The picture store, in a folder."""

from __future__ import annotations

import hashlib

import pytest
from obstore.exceptions import GenericError

from limner_shared.blob_store import _is_full
from limner_shared.blobs import Blobs
from limner_shared.errors import NotFound, StorageFailed


def test_bytes_are_found_by_their_digest_and_stored_once(tmp_path):
    blobs = Blobs(tmp_path.as_uri())
    digest = blobs.put(b"picture")
    assert digest == blobs.put(b"picture") == hashlib.sha256(b"picture").hexdigest()
    assert blobs.get(digest) == b"picture"
    assert len([file for file in tmp_path.rglob("*") if file.is_file()]) == 1


def test_a_digest_that_nobody_stored_is_not_found(tmp_path):
    with pytest.raises(NotFound):
        Blobs(tmp_path.as_uri()).get("ab" * 32)


def test_a_store_that_cannot_be_written_says_so(tmp_path):
    blobs = Blobs((tmp_path / "store").as_uri())
    (tmp_path / "store").rmdir()
    (tmp_path / "store").write_text("a file where the folder was")
    with pytest.raises(StorageFailed):
        blobs.put(b"picture")


def test_a_full_disk_is_told_from_other_failures():
    assert _is_full(GenericError("Unable to copy data to file: No space left on device (os error 28)"))
    assert not _is_full(GenericError("Permission denied (os error 13)"))
