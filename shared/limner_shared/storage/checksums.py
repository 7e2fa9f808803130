"""Objects that end with a checksum of their bytes, because nothing else says what they must be."""

from __future__ import annotations

import hashlib
from typing import Final

CHECKED: Final = ".sum"
"""The suffix of the keys of these objects."""
CHECKSUM_BYTES: Final = 32


def with_checksum(data: bytes) -> bytes:
    """The data and its SHA-256."""
    return data + hashlib.sha256(data).digest()


def without_checksum(stored: bytes) -> bytes | None:
    """The data of what `with_checksum` returned; None if it is damaged."""
    data, checksum = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
    return data if hashlib.sha256(data).digest() == checksum else None
