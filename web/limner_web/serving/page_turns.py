"""Turns of exports, which convert their rows page by page: between two pages, other requests are served."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final
from weakref import WeakValueDictionary

PAUSE_SECONDS: Final = 0.005
"""The event loop looks at its connections in this time; a page takes some 20 ms of it."""


class PageTurns:
    """Lets one export of the process at a time convert a page, those of several tenants alternately.

    Otherwise all exports that clients begin, also those that they have given up, would run without a pause.
    """

    def __init__(self) -> None:
        self._of_tenant: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._of_process = threading.Lock()

    @contextmanager
    def turn(self, tenant_id: str) -> Generator[None]:
        """Wait for a tenant's turn, which lasts until the end of the context."""
        with self._of_tenant.setdefault(tenant_id, threading.Lock()), self._of_process:
            yield
            time.sleep(PAUSE_SECONDS)
