"""Syncing written files and new names to the disk, many at once."""

from __future__ import annotations

import ctypes
import functools
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

MOUNTS: Final = Path("/proc/self/mountinfo")
WHOLE: Final = {"ext4", "xfs", "overlay"}  # file systems where syncfs writes all data and waits for it
REPORTS_ERRORS_SINCE: Final = (5, 8)  # releases of Linux whose syncfs reports failed writes (syncfs(2))


def sync_files(handles: Sequence[int]) -> None:
    """Sync open files: their data survives a power failure from then on. Raises OSError.

    Several files of one file system are synced with one `syncfs` where that is safe: it commits once, instead of once
    for each file. It also writes what other programs have left unwritten there, as the commit of a journal partly does.
    """
    at_once = _at_once([os.fstat(handle) for handle in handles])
    for handle in handles[:1] if at_once else handles:
        (syncfs if at_once else os.fsync)(handle)


def sync_folders(folders: Iterable[str]) -> None:
    """Sync folders, so that new names in them survive a power failure. Windows neither has nor needs such a call."""
    if os.name == "nt":
        return
    paths = list(folders)
    at_once = _at_once([os.stat(path) for path in paths])  # noqa: PTH116 - see whole_files
    for path in paths[:1] if at_once else paths:
        handle = os.open(path, os.O_RDONLY)
        try:
            (syncfs if at_once else os.fsync)(handle)
        finally:
            os.close(handle)


def _at_once(of: Sequence[os.stat_result]) -> bool:
    """Whether all of these are synced with one call."""
    devices = {each.st_dev for each in of}
    return len(of) > 1 and len(devices) == 1 and has_syncfs(*devices)


@functools.cache
def has_syncfs(device: int) -> bool:
    """Whether `syncfs` can be relied on for the file system with this device number."""
    if sys.platform != "linux" or _release() < REPORTS_ERRORS_SINCE or not MOUNTS.exists():
        return False
    number = f"{os.major(device)}:{os.minor(device)}"
    mounts = (line.split() for line in MOUNTS.read_text(errors="replace").splitlines())
    # proc_pid_mountinfo(5): the third field is the device's number, the one behind the dash is the type
    return any(fields[2] == number and fields[fields.index("-") + 1] in WHOLE for fields in mounts)


def _release() -> tuple[int, ...]:
    return tuple(int(part) for part in os.uname().release.split(".")[:2] if part.isdecimal())


def syncfs(handle: int) -> None:
    """The system call, which Python's `os` lacks. Raises OSError."""
    if ctypes.CDLL(None, use_errno=True).syncfs(handle):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
