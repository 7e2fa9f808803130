"""Text helpers for any script, shared by the readers of requests and of refinements. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from limner_worker.languages import WIDE, expression

Pattern = re.Pattern[str]
_WORD: Final = re.compile(r"\w")
NAMES_IN_I: Final = re.compile(
    "(?:고양이|호랑이|거북이|원숭이|부엉이|달팽이|지렁이|쟁이|종이|아이|어린이|놀이|떡볶이|손잡이|목걸이|귀걸이|옷걸이|책꽂이|송이|구이|굼벵이|올챙이"
    "|오이|냉이|멍멍이|돌멩이|개구리)$"
)
"""The end of a Korean name that ends as with a particle of the subject."""
HANGUL: Final = re.compile("[\uac00-\ud7af]")
_KOREAN: Final = (("을", "를"), ("은", "는"), ("이", "가"), ("과", "와"), ("으로", "로"), ("이랑", "랑"))
"""Particles after a consonant, and after a vowel."""
_PARTICLE: Final = re.compile(rf"(?:{'|'.join(each for pair in _KOREAN for each in pair)})(?=\s|$)")
_RIEUL: Final = 8
_FINALS: Final = 28
"""The final consonants of a Korean syllable, of which one is none; "로" follows that of "물" too."""
_QUOTES: Final = "\"'“”„«»「」"
_RUN: Final = re.compile(r"([\s,.;:!?¿¡，。、；：！？~*_-]{8})[\s,.;:!?¿¡，。、；：！？~*_-]+")
_LOOSE: Final = " ,.;:!?¿¡，。、；：！？-"


def compiled(sources: Iterable[str]) -> tuple[Pattern, ...]:
    """Compile patterns without regard to case."""
    return tuple(map(expression, sources))


def squeezed(text: str) -> str:
    """Return the text with single spaces, and with runs of spaces and marks cut to eight.

    A pattern that begins with such a run would read a long one again from each of its characters.
    """
    return _RUN.sub(r"\1", " ".join(text.split()))


def joined(left: str, right: str) -> str:
    """Join two parts of a text, with a space if its script uses spaces."""
    wide = bool(left and right) and left[-1] >= WIDE and right[0] >= WIDE and not HANGUL.match(left[-1])
    return f"{left}{'' if wide else ' '}{right}".strip()


def shortened(text: str, patterns: Iterable[Pattern], said: Pattern | None = None) -> str:
    """Return the text without the first match of each pattern, unless no word would remain.

    What follows words that `said` matches at their end is what someone says, and stays: "a child saying thank you".
    """
    for pattern in patterns:
        match = pattern.search(text)
        if match is None or (said is not None and said.search(text[: match.start()])):
            continue
        shorter = text[: match.start()] + text[match.end() :]
        text = shorter if tidy(shorter) else text
    return text


def stripped(text: str, patterns: Iterable[Pattern]) -> tuple[str, bool]:
    """Return the text without all matches, and whether there were any."""
    before = text
    for pattern in patterns:
        text = pattern.sub(" ", text)
    return text, text != before


def tidy(text: str) -> str:
    """Return the text without the leftovers of removals, such as loose commas and empty brackets; "" without a word."""
    plain = re.sub(r"[(\[（][\s,;/、，]*[)\]）]", "", " ".join(text.split()))
    plain = re.sub(r"\s+([,.;:!?])", r"\1", plain)
    plain = re.sub(r"([,;，、])(\s*[,;，、])+", r"\1", plain)
    plain = plain.strip(_LOOSE)
    if sum(plain.count(mark) for mark in _QUOTES) % len(("opening", "closing")):
        plain = plain.strip(_QUOTES + _LOOSE)
    elif len(plain) > 1 and plain[0] in _QUOTES and plain[-1] in _QUOTES and not set(plain[1:-1]) & set(_QUOTES):
        plain = plain[1:-1].strip(_LOOSE)
    return plain if _WORD.search(plain) else ""


def final_of(syllable: str) -> int:
    """Return the number of the final consonant of a Korean syllable; 0 if it has none."""
    return (ord(syllable) - ord("가")) % _FINALS


def with_particle(noun: str, rest: str) -> str:
    """Return a text after a noun, with the form of a Korean particle at its beginning that fits the noun."""
    match = _PARTICLE.match(rest)
    if match is None or not noun or not HANGUL.match(noun[-1]):
        return rest
    final = final_of(noun[-1])
    closed, opened = next(pair for pair in _KOREAN if match.group() in pair)
    fits = opened if not final or (opened == "로" and final == _RIEUL) else closed
    return f"{fits}{rest[match.end() :]}"
