"""Labels of jobs and images: tags, and the mark of favourites. No I/O."""

from __future__ import annotations

import unicodedata
from typing import Final

from limner_shared.errors import InvalidRequest

FAVOURITE: Final = ""
"""The label of favourites. A tag is never empty."""
MAX_TAG_CHARS: Final = 50
MAX_TAGS: Final = 50
"""Tags of one job or image."""


def read_tag(text: str) -> str:
    """Return a tag in Unicode's composed form, so that equal tags have equal characters. Raises InvalidRequest."""
    tag = unicodedata.normalize("NFC", text)
    if not tag or tag != tag.strip() or not tag.isprintable() or len(tag) > MAX_TAG_CHARS:
        message = f"tag: use 1 to {MAX_TAG_CHARS} printable characters, without spaces at the ends."
        raise InvalidRequest(message, field="tag")
    return tag
