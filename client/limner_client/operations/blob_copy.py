"""`limner blobs copy`: the objects of one picture store in another one, such as a bucket in place of a folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Final

from limner_shared.errors import ConfigurationError, ObjectUnreadable
from limner_shared.storage.blobs import ASIDE, DIGEST_CHARS, FILES, FOLDERS, INPUTS
from limner_shared.storage.object_store import Store

AT_ONCE: Final = 64
COPIED: Final = (*FOLDERS, INPUTS, FILES, ASIDE)
"""The folders that are copied. Renditions are made again when asked for; a checkpoint that is left behind costs a
running picture some steps."""

Tell = Callable[[str], object]


@dataclass
class Copied:
    """What a copy did, in numbers of objects. `damaged` lists the keys whose bytes are wrong."""

    copied: int = 0
    skipped: int = 0
    """Present in the target already, with the same size."""
    deleted: int = 0
    """Deleted from the source between listing and copying."""
    verified: int = 0
    size_bytes: int = 0
    damaged: list[str] = field(default_factory=list[str])
    unreadable: list[str] = field(default_factory=list[str])
    """The keys that the source does not return, although it returns others."""


def copy_store(source_url: str, target_url: str, tell: Tell, *, verify: bool) -> Copied:
    """Copy what the target lacks; safe to repeat, also while the service uses the source.

    With `verify` every object is read back from the target and compared with its digest and with the source. A damaged
    object of the source is not copied. Raises ConfigurationError, StorageFailed or StorageFull.
    """
    source, target = _opened(source_url), _opened(target_url)
    if source.folder is not None and source.folder == target.folder:
        raise ConfigurationError("Both stores are the same folder.")
    done = Copied()
    for folder in COPIED:
        there = {key: size for page in target.sizes(folder) for key, size in page.items()}
        for group in _groups(source, folder):
            _copy_group(source, target, group, there, done, verify=verify)
    for what, keys in (("damaged", done.damaged), ("unreadable", done.unreadable)):
        for key in keys:
            tell(f"{what}: {key}")
    return done


def _opened(url: str) -> Store:
    try:
        return Store(url if "://" in url else PurePosixPath(url).as_uri())
    except ValueError as error:
        message = f"{url!r} is not the URL of a picture store: give one such as s3://bucket, or an absolute path."
        raise ConfigurationError(message) from error


def _groups(source: Store, folder: str) -> Iterator[dict[str, int]]:
    """The objects of a folder with their sizes, without files that are being written."""
    for page in source.sizes(folder):
        keys = [key for key in page if not PurePosixPath(key).name.startswith(".")]
        for start in range(0, len(keys), AT_ONCE):
            yield {key: page[key] for key in keys[start : start + AT_ONCE]}


def _copy_group(
    source: Store, target: Store, group: dict[str, int], there: dict[str, int], done: Copied, *, verify: bool
) -> None:
    new: dict[str, bytes] = {}
    for key, size in group.items():
        present = there.get(key) == size
        if present and not verify:
            done.skipped += 1
            continue
        try:
            data = source.checked(partial(source.get, key), key)
        except ObjectUnreadable:
            done.unreadable.append(key)
            continue
        if data is None:
            done.deleted += 1
        elif not _is_whole(key, data):
            done.damaged.append(key)
        elif present and target.get(key) == data:
            done.skipped, done.verified = done.skipped + 1, done.verified + 1
        else:
            new[key] = data
    target.put_all(new)
    done.copied, done.size_bytes = done.copied + len(new), done.size_bytes + sum(map(len, new.values()))
    if verify:
        same = [key for key, data in new.items() if target.get(key) == data]
        done.verified += len(same)
        done.damaged += sorted(new.keys() - set(same))


def _is_whole(key: str, data: bytes) -> bool:
    """Whether the bytes have the digest that the key names; the parts of files have none."""
    name = PurePosixPath(key).name
    return len(name) != DIGEST_CHARS or hashlib.sha256(data).hexdigest() == name
