"""Names that tenants give to what is theirs: tags and presets. No I/O."""

from __future__ import annotations

import unicodedata
from typing import Final

from limner_shared.errors import InvalidRequest

MAX_NAME_CHARS: Final = 50


def read_path_name(text: str, field: str) -> str:
    """Return a name that can be a part of a path. Raises InvalidRequest."""
    name = read_name(text, field)
    if "/" in name or name in (".", ".."):
        raise InvalidRequest(f'{field}: use a name without a slash, and not "." or "..".', field=field)
    return name


def read_name(text: str, field: str) -> str:
    """Return a name in Unicode's composed form, so that equal names have equal characters. Raises InvalidRequest."""
    name = unicodedata.normalize("NFC", text)
    if not name or name != name.strip() or not name.isprintable() or len(name) > MAX_NAME_CHARS:
        message = f"{field}: use 1 to {MAX_NAME_CHARS} printable characters, without spaces at the ends."
        raise InvalidRequest(message, field=field)
    return name
