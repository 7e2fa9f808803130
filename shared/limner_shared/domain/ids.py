"""Identifiers: a prefix that names the kind, and a ULID, so that ids sort by time of making."""

from __future__ import annotations

import os
import secrets
import socket

from ulid import ULID


def new_id(prefix: str) -> str:
    """A new id such as `job_01J9Z3W6Q4X7…`: 26 characters of Crockford base32 after the prefix, in lower case."""
    return f"{prefix}_{str(ULID()).lower()}"


def new_owner() -> str:
    """The owner of leases: this process, and no later process with the same number."""
    return f"{socket.gethostname()[:40]}:{os.getpid()}:{secrets.token_hex(4)}"
