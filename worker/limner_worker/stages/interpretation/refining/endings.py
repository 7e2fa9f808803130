"""The endings of German adjectives. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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


_AFTER_EIN: Final = re.compile(
    "(?<![a-zäöüßA-Z])(?P<left>(?:k|m|s)?ein|ihr)\\s+(?P<bare>[a-zäöüß-]+)\\s+(?P<noun>[A-ZÄÖÜ][\\w-]+)"
)
"""An adjective after an article that does not tell the gender of its noun."""
_GENDERS: Final = {"der": "er", "den": "er", "dieser": "er", "diesen": "er", "das": "es", "dieses": "es"}
"""By an article that does, the ending of an adjective after "ein"."""


def with_endings(prompt: str, said: str, is_quality: Callable[[str], bool]) -> str:
    """Return a prompt in which a quality after "ein" has the ending that its noun's article tells in a message:
    "ein blau Traktor" after "den Traktor".
    """

    def agreed(match: re.Match[str]) -> str:
        article = re.search(rf"(?<!\w)({'|'.join(_GENDERS)})\s+(?:[a-zäöüß]+\s+)?{match['noun']}", said, re.IGNORECASE)
        if article is None or not BARE.fullmatch(match["bare"]) or not is_quality(match["bare"]):
            return match.group()
        return f"{match['left']} {match['bare']}{_GENDERS[article[1].lower()]} {match['noun']}"

    return _AFTER_EIN.sub(agreed, prompt)


def ending_after(left: str) -> str:
    """Return the ending of a German adjective after a text, by an adjective or article at its end; "" if unknown."""
    words = left.split()
    if not words:
        return ""
    known = _DETERMINED.get(words[-1].lower())
    sibling = ENDING.search(words[-1]) if known is None and len(words) > 1 and words[-1].islower() else None
    return known or (sibling.group() if sibling is not None else "")
