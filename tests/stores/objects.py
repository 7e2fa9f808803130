"""What every object store must do with pictures and checkpoints."""

from __future__ import annotations

import os

from limner_shared.storage.blobs import Blobs
from limner_shared.storage.object_store import Store


def check_objects(url: str) -> None:
    """Store, list, move and delete objects of any size at this URL."""
    blobs, store = Blobs(url), Store(url)
    large = os.urandom(20 << 20)
    digest, small = blobs.put_all([large, b"picture"])
    assert blobs.get(digest) == large
    assert {key for page in store.sizes("") for key in page} == {f"{name[:2]}/{name}" for name in (digest, small)}
    assert blobs.delete(small, unless_written_within=-1)
    assert blobs.get(small) == b"picture"
    [[aside]] = list(blobs.set_aside(-1))
    blobs.put_back(aside)
    assert blobs.key_in_place(small) is not None
    assert blobs.delete(small, unless_written_within=-1)
    blobs.delete_for_good(aside)
    assert store.get(f"{small[:2]}/{small}") is None
    blobs.store_checkpoint("job-0", b"half a picture")
    assert blobs.load_checkpoint("job-0") == b"half a picture"
