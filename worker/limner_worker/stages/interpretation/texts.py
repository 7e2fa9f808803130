"""Small tools for texts in any script, shared by what reads descriptions and what reads refinements. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

WIDE: Final = "\u2e80"
"""From here on lie the scripts that are written without spaces (and Korean, for which one less does no harm)."""
Pattern = re.Pattern[str]
_WORD = re.compile(r"\w")


def compiled(sources: Iterable[str]) -> tuple[Pattern, ...]:
    """Patterns that do not mind case."""
    return tuple(re.compile(source, re.IGNORECASE) for source in sources)


def joined(left: str, right: str) -> str:
    """Two parts of a text, with a space where its script has spaces."""
    wide = bool(left and right) and left[-1] >= WIDE and right[0] >= WIDE
    return f"{left}{'' if wide else ' '}{right}".strip()


def shortened(text: str, patterns: Iterable[Pattern]) -> str:
    """The text without the first match of each pattern, as far as words remain."""
    for pattern in patterns:
        shorter = pattern.sub("", text, count=1)
        text = shorter if tidy(shorter) else text
    return text


def stripped(text: str, patterns: Iterable[Pattern]) -> tuple[str, bool]:
    """The text without all matches, and whether there were any."""
    before = text
    for pattern in patterns:
        text = pattern.sub(" ", text)
    return text, text != before


def tidy(text: str) -> str:
    """Without what taking parts out has left: loose commas, empty brackets; empty if no word is left."""
    plain = re.sub(r"[(\[]\s*[)\]]", "", " ".join(text.split()))
    plain = re.sub(r"\s+([,.;:!?])", r"\1", plain)
    plain = re.sub(r"([,;，、])(\s*[,;，、])+", r"\1", plain)
    plain = plain.strip(" ,.;:!?¿¡，。、；：！？\"“”'-")
    return plain if _WORD.search(plain) else ""
