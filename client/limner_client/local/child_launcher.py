"""The program that starts every child process and makes it end with its parent.

It uses the standard library only, so it starts quickly and needs no installation.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def end_with_parent() -> None:
    """Ask Linux for a signal at the parent's death, then replace this process by the command.

    This is a separate program because a `preexec_fn` can deadlock in a parent with threads. Arguments: the parent's
    process id, the signal number, the command. On other systems it only runs the command.
    """
    parent, number, *command = sys.argv[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
        if os.getppid() != int(parent):  # the parent died before the call above
            raise SystemExit(1)
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    end_with_parent()
