"""Files that are either complete or absent, one or many at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from limner_shared.storage.syncing import sync_files, sync_folders


def write_files(files: Mapping[Path, bytes], *, durable: bool) -> None:
    """Write files, each of which is either complete or absent. With `durable` they survive a power failure from then
    on. Raises OSError, and leaves no partial file.

    All data is synced before the first file gets its name, then all names are: a file system commits twice for the
    whole group instead of twice for each file.
    """
    parts = {file: _part(file) for file in files}
    try:
        with ExitStack() as opened:
            handles = [_write(file, part, files[file], durable, opened) for file, part in parts.items()]
            if durable:
                sync_files(handles)
        for file, part in parts.items():
            part.replace(file)
    except OSError:
        for part in parts.values():
            part.unlink(missing_ok=True)
        raise
    if durable:
        sync_folders({file.parent for file in files})


def _part(file: Path) -> Path:
    return file.with_name(f".{file.name}.{os.getpid()}.{threading.get_ident()}")


def _write(file: Path, part: Path, data: bytes, durable: bool, opened: ExitStack) -> int:
    """Write the bytes to `part`; returns the open file, which `opened` closes."""
    try:
        out = opened.enter_context(part.open("wb", buffering=0))
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
        if durable:
            sync_folders([file.parent.parent])
        out = opened.enter_context(part.open("wb", buffering=0))
    left = memoryview(data)
    while left:
        left = left[out.write(left) :]
    return out.fileno()
