"""Emoji to words: what a description that is drawn rather than written says. The names are those of CLDR."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files

JOINERS = "\u200d\ufe0e\ufe0f"


@cache
def names() -> dict[str, str]:
    """English names of emoji, by their characters without variation selectors."""
    content = files("limner_worker.llm").joinpath("emoji.json").read_text("utf-8")
    return json.loads(content)


@cache
def _pattern() -> re.Pattern[str]:
    longest = sorted(names(), key=len, reverse=True)
    return re.compile("(?:" + "|".join(map(re.escape, longest)) + ")[\ufe0e\ufe0f]?")


def spelled(text: str) -> str:
    """The text with each emoji in words: "🐱🍕" is "cat face and pizza"; what is said already is not said twice."""
    plain = text.replace("\ufe0f", "").replace("\ufe0e", "")
    found = [names()[match.group()] for match in _pattern().finditer(plain)]
    if not found:
        return text
    rest = re.sub(rf"[{JOINERS}]", "", _pattern().sub(" ", plain))
    new = [name for name in dict.fromkeys(found) if name.split()[0] not in rest.lower()]
    if any(character.isalnum() for character in rest):
        return ", ".join([rest.strip(), *new])
    return " and ".join(new)
