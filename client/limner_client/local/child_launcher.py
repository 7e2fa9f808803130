"""The program that every child process starts as: it dies with its parent. Standard library only, so that it starts at
once and needs no installation.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def tether() -> None:
    """Entry of every child: ask Linux for a signal when the parent dies, then become the command.

    A program of its own rather than a `preexec_fn`, which may deadlock in a parent with threads. Arguments: the
    parent's process id, the signal's number, the command. Elsewhere than on Linux it only becomes the command.
    """
    parent, number, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != int(parent):  # it died before we could ask
            raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    tether()
