"""What a message has beside words of asking: "kannst du ihn blau machen?" has a colour, and no subject. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL, Pattern, tidy

_WORDS: Final = re.compile(r"[^\W_]+")
_LETTER: Final = 1
"""The letters of a word that an apostrophe cut ("j'en", "t'en"): such words ask for nothing."""


@dataclass(frozen=True)
class _Asking:
    """Words of asking: each a whole word, or parts of what is written, at its beginning and its end."""

    word: Pattern
    asks: Pattern
    """Of them, those that ask."""
    first: Pattern
    last: Pattern


@cache
def _asking(language: Language) -> _Asking:
    said, small, changes = language.address, language.connectives, language.changes
    asks = "|".join(filter(None, (said.asking, changes.wishes)))
    words = "|".join(filter(None, (asks, said.persons, said.small, said.thanks, small.articles, small.links)))
    some = changes.wishes or NOTHING
    return _Asking(
        expression(words or NOTHING), expression(asks or NOTHING), _repeated("^", some, ""), _repeated("", some, "$")
    )


def _repeated(before: str, source: str, after: str) -> Pattern:
    marks = r"[\s,.;:!?¿¡，。、！？]"
    return expression(rf"{before}(?:{marks}|(?:{source})){{1,40}}+{after}")


def without_wishes(text: str, language: Language) -> str:
    """Return what a text has beside words of asking, from its first such word to its last one; "" if it has none.

    Other words of asking may stand in between: those of a thing with two parts, which no picture's part is.
    """
    if language.unspaced and not HANGUL.search(text):
        return tidy(_asking(language).last.sub("", _asking(language).first.sub("", text)))
    asking = _asking(language)
    others = [each for each in _WORDS.finditer(text) if not _is_known(each, text, asking)]
    return text[others[0].start() : others[-1].end()] if others else ""


def asks(text: str, language: Language) -> bool:
    """Return whether a text has a word that asks."""
    asking = _asking(language)
    if language.unspaced and not HANGUL.search(text):
        return asking.first.search(text) is not None or asking.last.search(text) is not None
    return any(map(asking.asks.fullmatch, _WORDS.findall(text)))


def _is_known(word: re.Match[str], text: str, asking: _Asking) -> bool:
    cut = len(word.group()) == _LETTER and text[word.end() : word.end() + 1] in ("'", "\u2019")
    return cut or asking.word.fullmatch(word.group()) is not None
