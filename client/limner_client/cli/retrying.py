"""Calls that go on after an outage of the server, or after a limit of the tenant."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

import click

from limner_shared.errors import BulkLoading, Overloaded, ServiceUnavailable, StorageFailed, TooManyRequests

MAX_OUTAGE_SECONDS: Final = 600.0
"""How long a server that has answered before may be unavailable."""
FIRST_BACKOFF_SECONDS: Final = 0.5
MAX_BACKOFF_SECONDS: Final = 10.0

T = TypeVar("T")


def retry_while_unavailable(call: Callable[[], T]) -> T:
    """Return the result of `call`, which is repeated with backoff while the server is unavailable or overloaded, and as
    the server says where a limit of the tenant is reached.

    Raises the last error once the outage has lasted MAX_OUTAGE_SECONDS, or where a limit lasts longer than that.
    """
    deadline, pause = time.monotonic() + MAX_OUTAGE_SECONDS, FIRST_BACKOFF_SECONDS
    while True:
        try:
            return call()
        except (ServiceUnavailable, Overloaded, BulkLoading, StorageFailed) as error:
            if time.monotonic() > deadline:
                raise
            click.echo(f"{error.message} Trying again in {pause:g} s.", err=True)
            time.sleep(pause)
            pause = min(2 * pause, MAX_BACKOFF_SECONDS)
        except TooManyRequests as error:
            seconds = error.details.get("retry_after")
            if not isinstance(seconds, int | float) or seconds > MAX_OUTAGE_SECONDS:
                raise
            click.echo(f"{error.message} Trying again in {seconds:g} s.", err=True)
            time.sleep(seconds)
            deadline = time.monotonic() + MAX_OUTAGE_SECONDS
