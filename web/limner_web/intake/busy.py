"""Calls that are part of long work and wait while this process is busy: else the work would begin again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from limner_shared.errors import LimnerError, Overloaded

BUSY_SECONDS: Final = 1.0
"""After this time an overloaded process is asked again."""
LONGEST_SECONDS: Final = 40.0
"""Less than the dispatcher lets a bulk stand still."""

T = TypeVar("T")


def wait_while_busy(
    call: Callable[[], T], *, keep: Callable[[], None] = lambda: None, or_while: type[LimnerError] = Overloaded
) -> T:
    """Return the result of `call`, which is repeated while it raises Overloaded or one other error, for LONGEST_SECONDS
    at most. `keep` is called before each try, to renew the lease of the work.
    """
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        keep()
        try:
            return call()
        except (Overloaded, or_while):
            if time.monotonic() > deadline:
                raise
            time.sleep(BUSY_SECONDS)
