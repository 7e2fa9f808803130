"""The media types of stored objects, which a bucket sends to those who read it by a signed URL."""

from __future__ import annotations

import re
from typing import Final

PICTURE: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{64}")
RENDITION: Final = re.compile(r"renditions/.+\.(png|webp|jpeg)")


def media_type(key: str) -> str | None:
    """The media type of a picture or rendition by its key; None for other objects, which only Limner reads."""
    if PICTURE.fullmatch(key):
        return "image/png"
    rendition = RENDITION.fullmatch(key)
    return None if rendition is None else f"image/{rendition[1]}"
