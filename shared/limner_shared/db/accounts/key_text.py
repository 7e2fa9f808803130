"""The text of an API key: `lmn_<lookup id>_<secret>_<checksum>`; only the secret's SHA-256 is stored.

The lookup id of a key that a cell made begins with the cell's name.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib

from limner_shared.domain import cells


def new_lookup(cell: str) -> str:
    """A new lookup id, of this cell if it has a name."""
    return cells.key_id_prefix(cell) + secrets.token_hex(6)


def new_secret() -> str:
    """A new secret of 160 random bits."""
    return secrets.token_hex(20)


def key_of(lookup: str, secret: str) -> str:
    """The key with this lookup id and secret, as its owner sends it."""
    return f"{cells.KEY_PREFIX}_{lookup}_{secret}_{_checksum(lookup, secret)}"


def read(key: str) -> tuple[str, str] | None:
    """The lookup id and the secret of a key, or None if it is mistyped: a typo costs no query."""
    prefix, lookup, secret, checksum = (*key.split("_"), "", "", "", "")[:4]
    is_key = prefix == cells.KEY_PREFIX and checksum == _checksum(lookup, secret)
    return (lookup, secret) if is_key else None


def digest(secret: str) -> str:
    """What is stored of a secret: its SHA-256 in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _checksum(lookup: str, secret: str) -> str:
    return f"{zlib.crc32(f'{lookup}_{secret}'.encode()):08x}"
