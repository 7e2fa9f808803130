"""Files that are either complete or absent, one or many at a time.

Paths are texts here: `pathlib` interns each part of a path, so that the digests of millions of pictures would pass
through the interpreter's table of interned texts, which grows with that.
"""

# ruff: noqa: PTH103, PTH105, PTH108, PTH116, PTH118, PTH120, PTH123
from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress

from limner_shared.storage.syncing import sync_files, sync_folders


def write_files(files: Mapping[str, bytes], *, durable: bool) -> None:
    """Write files, each of which is either complete or absent. With `durable` they survive a power failure from then
    on. Raises OSError, and leaves no partial file.

    All data is synced before the first file gets its name, then all names are: a file system commits twice for the
    whole group instead of twice for each file.
    """
    parts = {file: _part(file) for file in files}
    try:
        with ExitStack() as opened:
            handles = [_write(part, files[file], durable, opened) for file, part in parts.items()]
            if durable:
                sync_files(handles)
        for file, part in parts.items():
            os.replace(part, file)
    except OSError:
        for part in parts.values():
            with suppress(FileNotFoundError):
                os.unlink(part)
        raise
    if durable:
        sync_folders({os.path.dirname(file) for file in files})


def _part(file: str) -> str:
    folder, name = os.path.split(file)
    return os.path.join(folder, f".{name}.{os.getpid()}.{threading.get_ident()}")


def _write(part: str, data: bytes, durable: bool, opened: ExitStack) -> int:
    """Write the bytes; returns the open file, which `opened` closes."""
    try:
        out = opened.enter_context(open(part, "wb", buffering=0))  # noqa: SIM115 - `opened` closes it
    except FileNotFoundError:
        folder = os.path.dirname(part)
        os.makedirs(folder, exist_ok=True)
        if durable:
            sync_folders([os.path.dirname(folder)])
        out = opened.enter_context(open(part, "wb", buffering=0))  # noqa: SIM115 - `opened` closes it
    left = memoryview(data)
    while left:
        left = left[out.write(left) :]
    return out.fileno()


def move_file(file: str, to: str, unless_younger: float) -> bool:
    """Move a file and replace `to`, whose age then starts at 0; False if it was written less than `unless_younger`
    seconds ago. Raises OSError.
    """
    os.makedirs(os.path.dirname(to), exist_ok=True)
    os.replace(file, to)
    if time.time() - os.stat(to).st_mtime < unless_younger:
        os.replace(to, file)  # if it exists again by now, it has the same bytes
        return False
    os.utime(to)
    return True
