"""Emoji to words, so that a description may consist of emoji. The names are those of CLDR."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from typing import Final

from limner_worker.languages import WIDE

JOINERS: Final = "\u200d\ufe0e\ufe0f"
TONES: Final = "\U0001f3fb-\U0001f3ff"
_TONES: Final = "".join(map(chr, range(0x1F3FB, 0x1F400)))
DENIALS: Final = "🚫⛔❌✖🈲"
"""Signs by which the emoji or words after them are left out."""
POLITE: Final = frozenset("🙏😊🙂😀😃😄😁👍👋🥺😍🥰😉✨🤗😅👏💕")
"""Emoji that, after words, express politeness and not content."""

FEELINGS: Final = "😂🤣😆😎🤩😻😹🙌👌💯🎉❤💖💙💜🧡💛💚🖤😭😢😕😐🤔🙄😬😱🤯"
"""Emoji that, in a message about a picture, say how someone feels about it."""


@cache
def names() -> dict[str, str]:
    """Return the English names of emoji by their characters without variation selectors."""
    content = files("limner_worker.languages").joinpath("emoji.json").read_text("utf-8")
    return json.loads(content)


@cache
def _pattern() -> re.Pattern[str]:
    longest = sorted(names(), key=len, reverse=True)
    first = "".join(sorted({re.escape(each[0]) for each in longest}))  # rejects most characters at once
    return re.compile(rf"(?=[{first}])(?:{'|'.join(map(re.escape, longest))})[{TONES}]?")


@cache
def _denied() -> re.Pattern[str]:
    """Return a pattern of a sign of negation with the emoji after it, or with the words up to a mark."""
    each = _pattern().pattern
    word = r"[^\W\d_]{1,40}"
    words = rf"(?P<words>{word}(?: {word}){{0,2}})(?=\s*(?:[,.;!?]|$))"
    return re.compile(rf"[{DENIALS}]\s*(?:(?P<emoji>(?:(?![{DENIALS}]){each}\s*)++)|{words})")


def removed(text: str) -> str:
    """Return the text without emoji: the words that tell its language."""
    return _tidy(_pattern().sub(" ", _plain(text)))


def unfelt(text: str) -> str:
    """Return the text without emoji that say how someone feels, if it has words too."""
    plain = _tidy(re.sub(rf"[{''.join(POLITE)}{FEELINGS}][{TONES}]?", " ", _plain(text)))
    return plain if any(character.isalnum() for character in plain) else text


def spelled(text: str, without: str = "without {without}") -> str:
    """Return the text with emoji replaced by words: "🐱🍕" gives "cat face and pizza", "a 🐱" gives "a cat face".

    Emoji that repeat the words around them, or that only greet or thank, are removed. `without` is how the text's
    language leaves something out, and follows the text: "🐱🚫🍕" gives "cat face, without pizza". A sign of negation
    before all that there is, is itself shown.
    """
    plain = _plain(text)
    if not _pattern().search(plain):
        return text
    shown, things = _denying(plain)
    return ", ".join([_shown(shown), *(without.replace(": ", " ").replace("{without}", thing) for thing in things)])


def _denying(text: str) -> tuple[str, list[str]]:
    """Return a text without what its signs of negation leave out, and the names of that."""
    things: list[str] = []

    def leave_out(match: re.Match[str]) -> str:
        if match["words"] and not text[: match.start()].strip():
            return match.group()  # the name of a sign
        found = _pattern().finditer(match["emoji"] or "")
        things.extend([match["words"]] if match["words"] else [_name(each) for each in found])
        return " "

    rest = _denied().sub(leave_out, text)
    return (rest if rest.strip() or not things else text.lstrip()[0]), things


def _shown(plain: str) -> str:
    found = [_name(match) for match in _pattern().finditer(plain)]
    rest = _tidy(_pattern().sub(" ", plain))
    if not any(character.isalnum() for character in rest):
        return " and ".join(dict.fromkeys(found))

    def word(match: re.Match[str]) -> str:
        each = match.group().rstrip(_TONES)
        polite = each in POLITE and not any(character.isalnum() for character in plain[match.end() :])
        known = polite or _name(match).split()[0] in rest.lower() or each in plain[: match.start()]
        return " " if known else _set_apart(_name(match), plain[: match.start()], plain[match.end() :])

    return _tidy(_pattern().sub(word, plain))


def _set_apart(name: str, before: str, after: str) -> str:
    """Return a name with spaces towards words beside it, but not towards a script without spaces, or a particle.

    "🐼打太极" gives "panda打太极", and "🐯가" "tiger가".
    """
    left, right = ("" if part.isalpha() and part >= WIDE else " " for part in (before[-1:], after[:1]))
    return f"{left}{name}{right}"


def _name(match: re.Match[str]) -> str:
    return names()[match.group().rstrip(_TONES)]


def _plain(text: str) -> str:
    return text.replace("\ufe0f", "").replace("\ufe0e", "")


def _tidy(text: str) -> str:
    plain = re.sub(rf"[{JOINERS}{TONES}]", "", text)
    return re.sub(r" +([,.;:!?])", r"\1", "\n".join(" ".join(line.split()) for line in plain.split("\n")).strip())
