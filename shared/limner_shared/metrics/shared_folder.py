"""The folder in which the processes of a web server count together. A process that is killed leaves it behind, so the
next one that starts on the machine deletes it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

PREFIX: Final = "limner-metrics-"
LOCK: Final = "owner.lock"
"""The file that the owner keeps locked, and with it the processes that are forked from it: as long as one of them
lives.
"""


def make_folder() -> Path:
    """Make a folder of this process, after those of killed ones were deleted."""
    for other in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if _is_abandoned(other):
            shutil.rmtree(other, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    # Locked under another name: a folder whose file has its name is never without its lock.
    made = os.open(folder / "new", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(made, fcntl.LOCK_EX)
    (folder / "new").rename(folder / LOCK)
    return folder


def _is_abandoned(folder: Path) -> bool:
    with suppress(OSError):  # another user's, locked, or not a folder of this kind
        file = os.open(folder / LOCK, os.O_RDWR)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(file)
        return True
    return False
