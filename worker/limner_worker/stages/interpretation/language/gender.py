"""Participles and adjectives behind a noun, in the gender of another noun that takes its place. No I/O."""

from __future__ import annotations

import re
from typing import Final

from limner_worker.stages.interpretation.language.schema import Gender, Language

_WORD: Final = re.compile(r"\s+([^\W\d_]+)")
_RELATIVE: Final = ("qui", "que", "che")
"""Words after which another verb follows."""
_NEAREST: Final = 2
"""The words behind a noun that may agree with it: an adverb may be the first ("appena sfornata")."""


def behind(text: str, left: str, new: str, language: Language) -> str:
    """Return the text behind a noun, which an article ends `left` of, in the gender of the new noun's article."""
    gender = language.gender
    if gender is None:
        return text
    old, now = _gender(left.split()[-1:], gender), _gender(new.split()[:1], gender)
    if old is None or now is None or old == now:
        return text
    ends = _turned(gender.endings | gender.nearest, old)
    at = 0
    for _ in range(_NEAREST):
        word = _WORD.match(text, at)
        if word is None or word[1].lower() in _RELATIVE:
            break
        end = next((each for each in sorted(ends, key=len, reverse=True) if word[1].endswith(each)), None)
        if end is not None and not re.fullmatch(gender.others, word[1], re.IGNORECASE):
            return f"{text[: word.end() - len(end)]}{ends[end]}{text[word.end() :]}"
        at, ends = word.end(), _turned(gender.endings, old)
    return text


def _turned(endings: dict[str, str], old: str) -> dict[str, str]:
    """Return endings of the other gender by those of the old one."""
    return endings if old == "m" else {feminine: masculine for masculine, feminine in endings.items()}


def _gender(words: list[str], gender: Gender) -> str | None:
    """Return "m" or "f" by an article; None if it tells neither."""
    article = words[0].lower() if words else ""
    return "m" if article in gender.masculine.split() else "f" if article in gender.feminine.split() else None
