"""Corrects small typing errors in the words of asking, such as "pictuers"; words of the subject stay as they are."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, partial
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern

BESIDE: Final = 80
"""The characters before laughter that are looked at to judge it."""
SHORTEST: Final = 5
"""The fewest letters of a word that is corrected."""
_WORD: Final = re.compile(r"[^\W\d_]+")
_BETWEEN: Final = re.compile(r"(?<=\S)[ \t]+(?:[/|•·—–]|--)[ \t]+(?=\S)")
_HAHA: Final = (
    "a?(?:ha){2,}h?|(?:ah){2,}a?|(?:he){2,}|a?(?:ja){2,}|k{3,}|(?:rs){2,}|lol+|lmao|rofl|mdr+|ptdr+|xd+|а?(?:ха){2,}"
    "|哈{2,}"
)
_LAUGHTER: Final = re.compile(
    rf"[ㅋㅎㅠㅜㄱ]{{2,}}|[\s,]*(?<!\w)(?:{_HAHA}|(?:hi){{2,}}|w{{4,}}|[:;]-?[)D(P]+|\^_?\^|<3|\({{2,}}|\){{2,}})"
    r"(?=\s*(?:[,.!?~]|$))",
    re.IGNORECASE,
)
"""Laughter and smileys that end a clause of a description."""
_LAUGHED: Final = re.compile(
    rf"(?:^|(?<=[\s,.!~]))(?:{_HAHA}|[wｗ]{{3,}})(?!\w)|哈{{2,}}|[ㅋㅎㅠㅜ]{{2,}}"
    r"|(?<=[\u3041-\u30ff\u4e00-\u9fff])(?:[wｗ]{2,}|[(（]?笑[)）]?)(?=\s|[、。!！]|$)",
    re.IGNORECASE,
)
"""Laughter anywhere in a message about a picture."""
_CALLED: Final = re.compile(r"^\s*@\w{1,30}[\s,:，：]+(?=\S)")
_STRETCHED: Final = re.compile(r"^(?P<start>[^\W\d_]{1,12}?)(?P<last>[^\W\d_])(?P=last){1,12}(?!\w)")
_WAVED: Final = re.compile(r"(?<=\w)[~\uff5e\u301c]+(?=\s)")
"""A wave after a greeting: "안녕하세요~ "."""
_WIDE: Final = (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
_NARROW: Final = {wide: wide - 0xFEE0 for wide in _WIDE} | {0xFF08: 0x28, 0xFF09: 0x29}
"""Digits and letters of full width, as East Asian keyboards write them, and those of Latin scripts."""


def normalised(text: str, leading: Sequence[Pattern]) -> str:
    """Return a text without laughter and "@name", with narrow digits and letters, and commas for slashes and dashes.

    What follows one of the patterns `leading` is of the subject, and stays: "a sign that says lol", "a poster of XD".
    """
    called = _CALLED.sub("", _WAVED.sub(",", text).translate(_NARROW))
    return _BETWEEN.sub(", ", _without(_LAUGHTER, called, leading, ""))


def without_laughter(text: str, leading: Sequence[Pattern]) -> str:
    """Return a message without laughter, which ends a clause where it is not at the beginning.

    What follows one of the patterns `leading` stays: "make it say haha".
    """
    return _without(_LAUGHED, text, leading, ", ").lstrip(" ,.!~") if _LAUGHED.search(text) else text


def _without(laughter: Pattern, text: str, leading: Sequence[Pattern], instead: str) -> str:
    """Return a text with something else instead of laughter, but for that which follows a pattern of `leading`."""

    def replaced(match: re.Match[str]) -> str:
        before = match.string[max(0, match.start() - BESIDE) : match.start()]
        return match.group() if any(each.search(before) for each in leading) else instead

    return laughter.sub(replaced, text)


def respelled(text: str, language: Language) -> str:
    """Return the text with the language's key words in place of words that differ from one by one typing error.

    The error is a letter too many or too few, another letter, or two letters in the wrong order. The first letter is
    right, and the last one too: other endings are inflections. Words that are spelled like a key word but are another
    one are named in the language file.
    """
    words = _keywords(language)

    def corrected(match: re.Match[str]) -> str:
        word = match.group().lower()
        if len(word) < SHORTEST - 1 or word in words or word in language.other_words.split():
            return match.group()
        near = [each for each in words if each[0] == word[0] and _is_near(word, each)]
        return near[0] if len(near) == 1 else match.group()

    text = _STRETCHED.sub(partial(_greeting, language), text)
    return _WORD.sub(corrected, text) if words else text


def _greeting(language: Language, match: re.Match[str]) -> str:
    """Return a greeting without the letters that stretch it: "holaa, "."""
    plain = match["start"] + match["last"]
    greeting = expression(language.address.greetings or NOTHING).fullmatch(plain)
    return match.group() if greeting is None else plain


@cache
def _keywords(language: Language) -> frozenset[str]:
    return frozenset(word for word in language.keywords.split() if len(word) >= SHORTEST - 1)


def _is_near(word: str, key: str) -> bool:
    """Return whether a word is a key word with one typing error; of four letters, only two in the wrong order are."""
    if len(key) < SHORTEST:
        return len(word) == len(key) and sorted(word) == sorted(key) and _differ_by_one(word, key)
    return word[-1] == key[-1] and _differ_by_one(word, key)


def _differ_by_one(word: str, key: str) -> bool:
    """Return whether one insertion, deletion, substitution or swap of neighbours turns one word into the other."""
    if abs(len(word) - len(key)) > 1 or word == key:
        return False
    at = next((k for k, (a, b) in enumerate(zip(word, key, strict=False)) if a != b), min(len(word), len(key)))
    if len(word) == len(key):
        swapped = word[at : at + 2] == key[at : at + 2][::-1] and word[at + 2 :] == key[at + 2 :]
        return swapped or word[at + 1 :] == key[at + 1 :]
    longer, shorter = (word, key) if len(word) > len(key) else (key, word)
    return longer[at + 1 :] == shorter[at:]
