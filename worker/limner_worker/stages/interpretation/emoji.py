"""Emoji to words, so that a description may consist of emoji. The names are those of CLDR."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Final

JOINERS: Final = "\u200d\ufe0e\ufe0f"
TONES: Final = "\U0001f3fb-\U0001f3ff"
_TONES: Final = "".join(map(chr, range(0x1F3FB, 0x1F400)))
POLITE: Final = frozenset("🙏😊🙂😀😃😄😁👍👋🥺😍🥰😉✨🤗😅👏💕")
"""Emoji that, after words, express politeness and not content."""


@cache
def names() -> dict[str, str]:
    """Return the English names of emoji by their characters without variation selectors."""
    content = files("limner_worker.stages.interpretation").joinpath("emoji.json").read_text("utf-8")
    return json.loads(content)


@cache
def _pattern() -> re.Pattern[str]:
    longest = sorted(names(), key=len, reverse=True)
    first = "".join(sorted({re.escape(each[0]) for each in longest}))  # rejects most characters at once
    return re.compile(rf"(?=[{first}])(?:{'|'.join(map(re.escape, longest))})[{TONES}]?")


def spelled(text: str) -> str:
    """Return the text with emoji replaced by words: "🐱🍕" gives "cat face and pizza", "a 🐱" gives "a cat face".

    Emoji that repeat the words around them, or that only greet or thank, are removed.
    """
    plain = text.replace("\ufe0f", "").replace("\ufe0e", "")
    found = [match.group().rstrip(_TONES) for match in _pattern().finditer(plain)]
    if not found:
        return text
    rest = _tidy(_pattern().sub(" ", plain))
    if not any(character.isalnum() for character in rest):
        return " and ".join(dict.fromkeys(names()[each] for each in found))

    def word(match: re.Match[str]) -> str:
        each = match.group().rstrip(_TONES)
        name = names()[each]
        polite = each in POLITE and not any(character.isalnum() for character in plain[match.end() :])
        known = polite or name.split()[0] in rest.lower() or each in plain[: match.start()]
        return " " if known else f" {name} "

    return _tidy(_pattern().sub(word, plain))


def _tidy(text: str) -> str:
    return re.sub(r" +([,.;:!?])", r"\1", " ".join(re.sub(rf"[{JOINERS}{TONES}]", "", text).split()))
