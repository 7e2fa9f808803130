"""Signal handling of `limner up` and `limner demo`."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from limner_client.local.stack import Stack

ONCE_SECONDS: Final = 0.5
"""Signals within this time count as one."""


@contextmanager
def stop_on_signals(stack: Stack) -> Iterator[None]:
    """Stop the stack gracefully on SIGINT, SIGTERM or SIGHUP; a second signal kills what still runs."""
    first = 0.0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        first = first or time.monotonic()
        # `make` forwards a signal that its whole process group has already received: two at once count as one.
        stack.kill_now = time.monotonic() - first > ONCE_SECONDS
        stack.stopping = True

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
