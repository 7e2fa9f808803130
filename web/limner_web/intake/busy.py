"""Calls that are part of long work and wait while this process is busy: else the work would begin again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from limner_shared.errors import LimnerError, Overloaded

BUSY_SECONDS: Final = 1.0
"""After this time an overloaded process is asked again."""
LONGEST_SECONDS: Final = 60.0

T = TypeVar("T")


def wait_while_busy(call: Callable[[], T], *, or_while: type[LimnerError] = Overloaded) -> T:
    """Return the result of `call`, which is repeated while it raises Overloaded or one other error, for LONGEST_SECONDS
    at most.
    """
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            return call()
        except (Overloaded, or_while):
            if time.monotonic() > deadline:
                raise
            time.sleep(BUSY_SECONDS)
