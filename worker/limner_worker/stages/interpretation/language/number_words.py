"""Numbers in digits and in words, composed of the number words of a language file. No I/O.

The words add up ("twenty", "one") or multiply what precedes them ("two", "hundred"), in any order, so that compounds
such as "einundzwanzig" and 二百一十 are read by the same rule.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language

THOUSAND: Final = 1000
TEN: Final = 10
TWENTY: Final = 20
HUNDRED: Final = 100
_GROUPED: Final = r"\d{1,3}(?:[.,\u2019'\u00a0\u202f ]\d{3}){1,6}+(?!\d)"
_MOST_WORDS: Final = 12
"""The most words of a number, so that a text of number words alone is read in linear time."""
_SEPARATORS: Final = re.compile(r"[.,\u2019'\u00a0\u202f ]")


@cache
def _word_pattern(language: Language) -> str:
    words = sorted(language.numbers, key=len, reverse=True)
    return "|".join(re.escape(word).replace(r"\ ", r"\s+") for word in words)


@cache
def number_pattern(language: Language) -> str:
    """Return a pattern of a number in digits or in words; in scripts with spaces it stands alone."""
    word = _word_pattern(language)
    multipliers = "|".join(map(re.escape, language.number_multipliers.split())) or NOTHING
    joiners = f"{language.number_joiners}|" if language.number_joiners else ""
    multiplied = rf"\d{{1,4}}\s?(?:{multipliers})"
    if language.unspaced:
        some = rf"(?:{word}){{1,{_MOST_WORDS}}}+"
        written = rf"{some}(?:(?:{joiners}[\s-]){some}){{0,2}}"
        return rf"(?:{_GROUPED}|{multiplied}|\d{{1,7}}|{written})"
    complete = rf"(?=\W|$|(?:{joiners}(?!))?(?:{word}))"  # "three" in "three one-eyed cats" and "drei einfache"
    written = rf"(?:{word})(?:(?:{joiners}[\s-])?(?:{word}){complete}){{0,{_MOST_WORDS}}}+"
    return rf"(?<![\w.,])(?:{_GROUPED}|{multiplied}|\d{{1,7}}|{written})(?![\w])"


def number_in(text: str, language: Language) -> int | None:
    """Return the value of a text that `number_pattern` matches; None if its words do not form a number."""
    plain = _SEPARATORS.sub("", text)
    if plain.isdecimal():
        return int(plain)
    total = section = digit = 0
    if digits := re.match(r"\d+", text):
        digit, text = int(digits.group()), text[digits.end() :]
    for match in re.finditer(_word_pattern(language), text, re.IGNORECASE):
        word = " ".join(match.group().lower().split())
        value = language.numbers[word]
        if word in language.number_multipliers.split():
            section, total = _multiplied(section, digit, value, total)
            digit = 0
        elif digit and not _adds(digit, value):
            return None
        else:
            digit += value
    return total + section + digit


def _multiplied(section: int, digit: int, value: int, total: int) -> tuple[int, int]:
    """Return the section and the total after a multiplier; thousands end a section."""
    if value >= THOUSAND:
        return 0, total + (section + digit or 1) * value
    return section + (digit or 1) * value, total


def _adds(sum_: int, value: int) -> bool:
    """Return whether a number word may follow others: "twenty one", "ein und zwanzig", "soixante dix"."""
    small, large = sorted((sum_ % HUNDRED, value % HUNDRED))
    return (small < TEN and large % TEN == 0 and large >= TEN) or (small < TWENTY and large % TWENTY == 0 and large > 0)
