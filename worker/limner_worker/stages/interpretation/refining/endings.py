"""The endings of German adjectives. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

ENDING: Final = re.compile("e[nmrs]?$")
"""The ending of an inflected German adjective."""
BARE: Final = re.compile(
    "[a-zäöüß]+(?<!e)(?<!e[nmrs])|(?:[a-zäöüß]*(?:gold|seid|bronz|samt|woll|lein)en|[a-zäöüß]*ern)"
)
"""A German adjective without an ending."""
_DETERMINED: Final[Mapping[str, str]] = {
    "eine": "e", "die": "e", "das": "e", "einen": "en", "den": "en", "einem": "en", "einer": "en", "dem": "en",
    "des": "en", "eines": "en", "seine": "e", "ihre": "e", "seinen": "en", "ihren": "en", "seinem": "en", "ihrem": "en",
}  # fmt: skip
"""By German article, the ending of an adjective after it."""


def ending_after(left: str) -> str:
    """Return the ending of a German adjective after a text, by an adjective or article at its end; "" if unknown."""
    words = left.split()
    if not words:
        return ""
    known = _DETERMINED.get(words[-1].lower())
    sibling = ENDING.search(words[-1]) if known is None and len(words) > 1 and words[-1].islower() else None
    return known or (sibling.group() if sibling is not None else "")
