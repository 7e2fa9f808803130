"""Calls that are part of long work and wait while this process is busy: else the work would begin again."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

from limner_shared.errors import Overloaded

BUSY_SECONDS: Final = 1.0
"""After this time an overloaded process is asked again."""
LONGEST_SECONDS: Final = 60.0

P = ParamSpec("P")
T = TypeVar("T")


def wait_while_busy(call: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """Return the result of a call, which is repeated while it raises Overloaded, for LONGEST_SECONDS at most."""
    deadline = time.monotonic() + LONGEST_SECONDS
    while True:
        try:
            return call(*arguments, **named)
        except (Overloaded, or_while):
            if time.monotonic() > deadline:
                raise
            time.sleep(BUSY_SECONDS)
