"""Labels of jobs and images: tags, and the mark of favourites. No I/O."""

from __future__ import annotations

from typing import Final

from limner_shared.domain.given_names import MAX_NAME_CHARS, read_name

FAVOURITE: Final = ""
"""The label of favourites. A tag is never empty."""
MAX_TAG_CHARS: Final = MAX_NAME_CHARS
MAX_TAGS: Final = 50
"""Tags of one job or image."""


def read_tag(text: str) -> str:
    """Return a tag as it is stored. Raises InvalidRequest."""
    return read_name(text, "tag")
