"""Looks ten times a second for what a test of a page expects: Playwright looks twice a second once it has waited for a
quarter of one, unless the whole wait is short.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from playwright._impl.frame import Frame

SHORT_MS: Final = 2_400
"""Playwright keeps to the short steps in waits of less than 2.5 s."""


@contextmanager
def frequent_looks() -> Iterator[None]:
    """While it lasts, `expect` makes several short waits of a long one."""
    wait = Frame._expect

    async def wait_in_parts(frame: Frame, selector: Any, expression: str, options: Any, title: Any) -> Any:
        deadline = time.monotonic() + options["timeout"] / 1000
        while True:
            left_ms = max(1.0, (deadline - time.monotonic()) * 1000)
            result: Any = await wait(frame, selector, expression, options | {"timeout": min(left_ms, SHORT_MS)}, title)
            if left_ms <= SHORT_MS or not result.get("timedOut"):
                return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Frame, "_expect", wait_in_parts)
        yield
