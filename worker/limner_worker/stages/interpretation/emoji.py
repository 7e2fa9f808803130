"""Emoji to words: what a description that is drawn rather than written says. The names are those of CLDR."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

JOINERS = "\u200d\ufe0e\ufe0f"
TONES = "\U0001f3fb-\U0001f3ff"
_TONES = "".join(map(chr, range(0x1F3FB, 0x1F400)))
POLITE = frozenset("🙏😊🙂😀😃😄😁👍👋🥺😍🥰😉✨🤗😅👏💕")
"""After words these say how it is asked, not what."""


@cache
def names() -> dict[str, str]:
    """English names of emoji, by their characters without variation selectors."""
    content = files("limner_worker.stages.interpretation").joinpath("emoji.json").read_text("utf-8")
    return json.loads(content)


@cache
def _pattern() -> re.Pattern[str]:
    longest = sorted(names(), key=len, reverse=True)
    first = "".join(sorted({re.escape(each[0]) for each in longest}))  # tells most characters apart at once
    return re.compile(rf"(?=[{first}])(?:{'|'.join(map(re.escape, longest))})[{TONES}]?")


def spelled(text: str) -> str:
    """The text with each emoji in words: "🐱🍕" is "cat face and pizza", "a 🐱 with a 🎩" "a cat face with a top hat".

    What the words around it say already, and what only greets or thanks, is not said.
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
