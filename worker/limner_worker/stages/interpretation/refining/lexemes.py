"""Takes a short message apart into words whose role the tables tell, and words that they do not know. No I/O.

Words of languages with spaces, and of Korean, are judged as wholes; in Chinese and Japanese the longest that is known
begins where the one before ends.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, NOTHING
from limner_worker.stages.interpretation.language.number_words import number_pattern
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL, Pattern, final_of
from limner_worker.stages.interpretation.refining.changes import PLACES, ROW

LONGEST: Final = 160
"""The most characters of a message that is taken apart."""
NEW: Final = "new"
"""The kind of a word that no table knows: content."""
MARK: Final = "mark"
"""The kind of a mark that ends a clause."""
SHAPES: Final = ("square", "wide", "tall")
_MARKS: Final = re.compile(r"[,.;:!?，。！？、；：…]")
_LETTERS: Final = re.compile(r"[^\W_]+")
_RUN: Final = re.compile(r"[ァ-ヺー]+|[a-z0-9]+|\w", re.IGNORECASE)
_SIZED: Final = r"\d{2,5}\s?[x×]\s?\d{2,5}|\d{1,2}:\d{1,2}(?!\d)"
_PIECES: Final = re.compile(r"\\.|\[(?:\\.|[^\]])*\]|.", re.DOTALL)
_COUNTERS: Final = "张|張|幅|枚|つ|個|回|次|遍|장|개|번|가지|パターン|種類|x|×"
_PARTICLES: Final = "はがをにでのもとへやかねよなてた"
_KANA: Final = re.compile(r"[\u3041-\u3096]")
_OBJECT: Final = ("을", "를")
_SURE: Final = (*_OBJECT, "은", "는", "도", "만", "로", "으로", "에서", "라고")
"""Particles that are hardly the end of a name."""
_AFTER_VOWEL: Final = "가"
_FEW: Final = 2
"""The fewest characters of a name in the prompt, in scripts without spaces, or of a word without its particle."""


@dataclass(frozen=True)
class Lexeme:
    """A word or a phrase of a message, and its roles."""

    start: int
    end: int
    kinds: frozenset[str]

    def has(self, *kinds: str) -> bool:
        """Return whether it has one of some roles."""
        return not self.kinds.isdisjoint(kinds)


def lexed(text: str, language: Language, prompt: str, styles: Sequence[str]) -> list[Lexeme]:
    """Return the words of a message about a picture; what stands in the picture's prompt is content."""
    kinds = _kinds(language, tuple(styles))
    hangul = language.unspaced and HANGUL.search(text) is not None
    found: list[Lexeme] = []
    at = 0
    while at < len(text):
        if not text[at].isalnum() and text[at] not in "#№":
            found += [Lexeme(at, at + 1, frozenset({MARK}))] if _MARKS.match(text[at]) else []
            at += 1
            continue
        some = _next_part(text, at, kinds, language, prompt) if language.unspaced and not hangul else None
        if (
            some
            and some.end == at + 1
            and _KANA.match(text[at])
            and (not found or found[-1].has(MARK) or text[at] not in _PARTICLES)
        ):
            some = Lexeme(at, some.end, frozenset({NEW}))  # no particle begins a clause
        found += [some] if some else _next_word(text, at, kinds, language, prompt)
        at = found[-1].end
    return found


@cache
def _kinds(language: Language, styles: tuple[str, ...]) -> dict[str, Pattern]:
    words, small, said = language.changes.words, language.connectives, language.address
    articles = (word for word in language.nominative if not re.fullmatch(small.determiners, word))
    frame = (
        words.frame, said.asking, said.persons, said.small, said.thanks, language.changes.wishes, small.articles,
        small.determiners, small.links, small.and_, language.style.in_, language.size.before, language.size.by,
        "" if language.unspaced else language.style.word, language.shapes.keys, language.requests.courtesies,
        language.pictures.nouns,
    )  # fmt: skip
    named = (
        "opinions",
        "away",
        "spared",
        "added",
        "retried",
        "contrast",
        "meant",
        "rather",
        "moves",
        "pick",
        "numbered",
        "within",
    )
    sources = {name: getattr(words, name) for name in named} | {
        "frame": "|".join(filter(None, frame)),
        "asking": "|".join(filter(None, (said.asking, said.final, said.thanks, language.requests.courtesies))),
        "article": "|".join(filter(None, (small.indefinite, *articles))),
        "definite": small.determiners,
        "place": small.places,
        "time": language.moments.phrases,
        "colour": "|".join(language.colours.values()),
        "number": _count(language),
        "sized": _SIZED,
    }
    sources |= {name: _shape(language, name) for name in SHAPES}
    sources |= {style: _style(language, style) for style in styles}
    sources |= {name: getattr(language.ordinals, name) for name in (*PLACES, *ROW)}
    end = "" if language.unspaced else r"(?!\w)"
    return {name: expression(rf"(?:{longest_first(source) or NOTHING}){end}") for name, source in sources.items()}


def longest_first(alternation: str) -> str:
    """Return an alternation with its longest patterns first, as a search takes the first that matches."""
    parts: list[str] = [""]
    depth = 0
    for piece in _PIECES.findall(alternation):
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += piece
    return "|".join(sorted(filter(None, parts), key=len, reverse=True))


def _count(language: Language) -> str:
    """Return a pattern of a number of pictures; in scripts without spaces, with what counts them."""
    number = number_pattern(language)
    if not language.unspaced:
        return rf"{number}(?:\s?[x×])?|[x×]\s?\d{{1,3}}"
    return rf"(?<=[图号案#])\d|{number} ?(?:{_COUNTERS})(?!\s?째|目)|[x×]\s?\d{{1,3}}"


def _shape(language: Language, name: str) -> str:
    some = dict.fromkeys((language, BY_CODE[FALLBACK]))
    words = (rf"(?:{getattr(each.shapes, name)})(?:{each.shapes.endings})(?:format)?" for each in some)
    return "|".join(words)


def _style(language: Language, style: str) -> str:
    names = (each.styles[style].names for each in (language, BY_CODE[FALLBACK]) if style in each.styles)
    return "|".join((re.escape(style).replace(r"\-", "[- ]"), *filter(None, names)))


def _known(text: str, at: int, kinds: dict[str, Pattern]) -> tuple[int, frozenset[str]]:
    """Return the end of the longest known phrase that begins at a place, and its roles."""
    ends = {name: match.end() for name, kind in kinds.items() if (match := kind.match(text, at)) is not None}
    end = max(ends.values(), default=at)
    return end, frozenset(name for name, each in ends.items() if each == end)


def _next_word(text: str, at: int, kinds: dict[str, Pattern], language: Language, prompt: str) -> list[Lexeme]:
    end, roles = _known(text, at, kinds)
    word = _LETTERS.match(text, at)
    after = word.end() if word else at + 1
    if end > at and (not language.unspaced or end >= after or not text[end : end + 1].isalnum()):
        return [Lexeme(at, end, roles)]
    if word is not None and after == at + 1 and text[after : after + 1] in ("'", "\u2019"):  # "l'arbre"
        return [Lexeme(at, after, frozenset({"frame"}))]
    if word is not None and language.changes.words.particles:
        return _with_particle(text, word, kinds, language.changes.words.particles, prompt)
    return [Lexeme(at, after, frozenset({NEW}))]


def _with_particle(
    text: str, word: re.Match[str], kinds: dict[str, Pattern], particles: str, prompt: str
) -> list[Lexeme]:
    """Return a word and its particle, unless they may be one word."""
    at, after = word.span()
    cut = re.search(rf"(?:{particles})$", word.group())
    if cut is None or not cut.start():
        return [Lexeme(at, after, frozenset({NEW}))]
    end = at + cut.start()
    known, roles = _known(text[:end], at, kinds)
    stem, particle = text[at:end], cut.group()
    sure = particle in _SURE or (particle == _AFTER_VOWEL and not final_of(stem[-1]))
    if (
        known < end
        and not (stem in prompt and (sure or word.group() not in prompt))
        and not (sure and (len(stem) >= _FEW or particle in _OBJECT))
    ):
        return [Lexeme(at, after, frozenset({NEW}))]
    tail = frozenset({"frame"}) | _known(text, end, kinds)[1]
    return [Lexeme(at, end, roles if known == end else frozenset({NEW})), Lexeme(end, after, tail)]


def _next_part(text: str, at: int, kinds: dict[str, Pattern], language: Language, prompt: str) -> Lexeme:
    end, roles = _known(text, at, kinds)
    named = at
    while named < len(text) and text[at : named + 1] in prompt:
        named += 1
    particles = language.changes.words.particles
    while named > at + 1 and particles and re.fullmatch(particles, text[named - 1]):
        named -= 1
    if named - at >= _FEW and named > end and "colour" not in roles:
        return Lexeme(at, named, frozenset({NEW}))
    if end > at:
        return Lexeme(at, end, roles)
    run = _RUN.match(text, at)
    return Lexeme(at, run.end() if run else at + 1, frozenset({NEW}))
