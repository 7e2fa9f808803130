"""How a person stops the stack."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from limner_client.local.stack import Stack

ONCE_SECONDS: Final = 0.5


@contextmanager
def stop_on_signals(stack: Stack) -> Iterator[None]:
    """Ctrl-C and SIGTERM stop in good order; a second one at once."""
    first = 0.0

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal first
        first = first or time.monotonic()
        # `make` passes on a signal that its whole group has had already: twice at once is once.
        stack.hurry = time.monotonic() - first > ONCE_SECONDS
        stack.stopping = True

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
