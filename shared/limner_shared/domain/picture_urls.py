"""The part of a picture's URL that says in which form it is answered. No I/O."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

MAX_SIDE: Final = 2048
"""The longest side, in pixels, to which a picture is scaled."""


def rendition_query(kind: str, quality: int | None = None, fit: tuple[int, int] | None = None) -> str:
    """The query for a picture as `png`, `jpeg` or `webp`, with a quality of 0 to 100, scaled to fit (width, height).

    Empty for the stored PNG.
    """
    parts = {
        "format": None if kind == "png" else kind,
        "quality": quality,
        "fit": None if fit is None else f"{fit[0]}x{fit[1]}",
    }
    given = urlencode({name: value for name, value in parts.items() if value is not None})
    return f"?{given}" if given else ""
