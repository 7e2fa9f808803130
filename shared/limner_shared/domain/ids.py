"""Identifiers: a prefix that names the kind, and a ULID, so that ids sort by creation time."""

from __future__ import annotations

import os
import secrets
import socket
from typing import Final

from ulid import ULID

TIME_CHARS: Final = 10
"""The characters of a ULID that are its time."""
LAST_MILLISECOND: Final = 2**48 - 1


def new_id(prefix: str) -> str:
    """Return a new id such as `job_01j9z3w6q4x7…`: the prefix and 26 characters of Crockford base32 in lower case."""
    return f"{prefix}_{str(ULID()).lower()}"


def first_id(prefix: str, seconds: float) -> str:
    """The lower bound of the ids made from this time on, in seconds since 1970, by the clock of their maker."""
    milliseconds = min(max(0, int(seconds * 1000)), LAST_MILLISECOND)
    return f"{prefix}_{str(ULID.from_timestamp(milliseconds)).lower()[:TIME_CHARS]}"


def new_owner() -> str:
    """Return a lease owner that identifies this process, and no later process with the same number."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
