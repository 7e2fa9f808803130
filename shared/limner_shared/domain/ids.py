"""Identifiers: a prefix that names the kind, and a ULID, so that ids sort by creation time."""

from __future__ import annotations

import os
import secrets
import socket
from datetime import datetime

from ulid import ULID


def new_id(prefix: str) -> str:
    """Return a new id such as `job_01j9z3w6q4x7…`: the prefix and 26 characters of Crockford base32 in lower case."""
    return f"{prefix}_{str(ULID()).lower()}"


def first_id(prefix: str, moment: datetime) -> str:
    """The least id of this kind that could be made at a time, to a millisecond: ids of earlier times are less."""
    milliseconds = max(0, int(moment.timestamp() * 1000))
    return f"{prefix}_{str(ULID.from_bytes(milliseconds.to_bytes(6, 'big') + bytes(10))).lower()}"


def new_owner() -> str:
    """Return a lease owner that identifies this process, and no later process with the same number."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
