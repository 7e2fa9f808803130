"""Whether this web process is stopping, so that what clients can continue elsewhere does not keep it alive.

It imports nothing that gevent patches: the command imports it before gevent patches Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

EXTENSION: Final = "limner.stopping"


def announce_end(application: Any, stopping: Callable[[], bool]) -> None:
    """Let a Flask application know, by a function, whether its process is stopping."""
    application.extensions[EXTENSION] = stopping


def stopping_check(application: Any) -> Callable[[], bool]:
    """Return a function that tells whether the application's process is stopping."""
    return application.extensions.get(EXTENSION, lambda: False)
