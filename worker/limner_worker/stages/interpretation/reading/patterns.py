"""The patterns by which `rules` reads requests, composed of the words in the language files.

They recognise how people ask for pictures, count them, name styles and sizes, and leave things out. Words of scripts
with spaces stand alone; others are parts of what is written. Each language has its own, as one language's words mean
something else in another; the names of styles and shapes may be English in any language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, LANGUAGES, NOTHING, words
from limner_worker.stages.interpretation.language.number_words import number_pattern
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, compiled
from limner_worker.stages.interpretation.reading.asking import beginnings, thanks
from limner_worker.stages.interpretation.reading.orders import excluded, ordered_numbers
from limner_worker.stages.interpretation.reading.sizes import SHAPES, shape_named, size
from limner_worker.stages.interpretation.reading.things import (
    END,
    LONGEST_WORD,
    any_,
    dangling,
    picture_nouns,
    separators,
    things,
)

GRAMMAR: Final = frozenset(word for language in LANGUAGES for word in language.grammar.split())
"""Words without content; prompts that share only these share nothing."""
_STOPS: Final = r"[.!?。！？]*\s*$"
_UNWANTED: Final = rf"(?:{any_(BY_CODE[FALLBACK].requests.unwanted)})"
_IN_ENGLISH: Final = (
    rf"[\s,;.!、。，]*(?:\b(?:but|please)\s+){{0,2}}+(?<!\w)no\s+"
    rf"(?P<what>{_UNWANTED}(?:(?:,|\s(?:or|and))\s+(?:no\s)?{_UNWANTED})*+)"
    r"(?:\s+(?:please|pls|plz|thanks|thx))?(?=\s*(?:[,.;!?、。，]|$))"
)
"""What people leave out in English words in a text of any language, after a mark or at the end."""


@dataclass(frozen=True)
class RequestPatterns:
    """The compiled patterns of one language."""

    lead_ins: tuple[Pattern, ...]
    tails: tuple[Pattern, ...]
    polite_tails: tuple[Pattern, ...]
    asides: tuple[Pattern, ...]
    picture_of: tuple[Pattern, ...]
    pictures_after: tuple[Pattern, ...]
    counted: tuple[Pattern, ...]
    described: Pattern
    """A number of pictures that are described further: "four watercolor paintings"."""
    singulars: tuple[tuple[Pattern, str], ...]
    placed: Pattern
    """What follows pictures that are in the picture themselves."""
    single: tuple[Pattern, ...]
    """No more than one picture."""
    seed: tuple[Pattern, ...]
    size: tuple[Pattern, ...]
    without: tuple[Pattern, ...]
    stressed: Pattern
    """What stresses that a thing is left out, after it."""
    joins: Pattern
    """Words that join things."""
    joined_last: Pattern
    """A word or a mark that joins, at the end of a text."""
    joined_first: Pattern
    """A word that joins, at the beginning of a text."""
    doubled: Pattern
    """A negation of leaving out: "not without"."""
    idle: Pattern
    another: Pattern
    """What begins another thing to draw, after things without an article: "and a" of "without windows and a tree"."""
    fixed: Pattern
    """A thing with which words of leaving out make a name."""
    titled: Pattern
    """A word for a title, and the title as far as it goes, at the end of a text."""
    speech: Pattern
    first: tuple[Pattern, ...]
    """What stands before a request: a thing that is taken back ("a cat, no wait, a dog"), and why it is asked for."""
    lists: Pattern
    determiners: Pattern
    indefinite: Pattern
    article: Pattern
    """An indefinite article."""
    article_last: Pattern
    """An indefinite article at the end of a text."""
    joined_twice: Pattern
    dangling: Pattern
    shapes: dict[str, tuple[Pattern, ...]]
    bare_shapes: dict[str, tuple[Pattern, ...]]
    """A shape that is the whole of a message."""

    def singular(self, how: str, pictures: str) -> str:
        """Return one of several pictures that are described further: "pencil drawings", "pencil drawing"."""
        said = f"{how}{pictures}"
        whole = next((one for plural, one in self.singulars if plural.fullmatch(said)), None)
        one = next((one for plural, one in self.singulars if plural.fullmatch(pictures)), pictures)
        return f"{how}{one}" if whole is None else whole


@cache
def patterns_for(language: Language) -> RequestPatterns:
    """Return the patterns of a language, which are compiled once."""
    polite = tuple(rf"{source}\s*{_STOPS}" for source in thanks(language))
    and_ = any_(language.connectives.and_)
    return RequestPatterns(
        lead_ins=_beginning(beginnings(language)),
        tails=compiled((*polite, *(rf"{source}\s*{_STOPS}" for source in language.requests.tails))),
        polite_tails=compiled(polite),
        asides=compiled(language.requests.asides),
        picture_of=_beginning((*language.requests.picture_of, *_picture_of(language))),
        pictures_after=compiled(language.requests.pictures_after),
        counted=compiled(_filled(source, language) for source in (*_counted(language), *language.requests.counted)),
        described=expression(_filled(_described(language), language)),
        singulars=_singulars(language),
        placed=expression(rf"(?:{any_(language.pictures.placed)})"),
        seed=compiled(_seed(language, _adding(language))),
        size=compiled(size(language)),
        single=compiled(_filled(source, language) for source in language.requests.single),
        without=compiled(_filled(source, language) for source in _leaving_out(language)),
        stressed=expression(rf"\s+(?:{any_(language.requests.emphasis_after)})$"),
        doubled=expression(_whole(any_(language.connectives.doubled), language)),
        idle=expression(rf"(?:{any_(language.connectives.idle)})(?:\s\S{{1,20}}){{0,2}}"),
        another=expression(rf"(?:\s(?:{and_})|,(?:\s(?:{and_}))?)\s+(?={_beginning_another(language)})"),
        fixed=expression(_whole(any_(language.connectives.fixed), language, ended=True)),
        titled=expression(_whole(any_(language.requests.titled), language) + r"[^,.;:!?]*$"),
        joins=expression(rf"{_whole(and_, language, ended=True)}|(?<!\w)(?:{any_(language.connectives.lists)})(?!\w)"),
        joined_last=expression(rf"(?:[,、，]|{_whole(and_, language)})\W*$"),
        joined_first=expression(rf"^\W*(?:{and_})\s"),
        speech=expression(rf"(?<!\w)({any_(language.requests.speech)})\W*$"),
        first=compiled((_corrected(language), rf"^\s*(?:{any_(language.requests.stories)})")),
        lists=expression(separators(language)),
        determiners=expression(_determined(language)),
        indefinite=expression(rf"({any_(language.connectives.indefinite)})"),
        article=expression(rf"(?<!\w)(?:{any_(language.connectives.indefinite)})(?!\w)"),
        article_last=expression(rf"(?<!\w)(?:{any_(language.connectives.indefinite)})$"),
        joined_twice=expression(rf"(?<!\w)({and_}) (?P<last>({_adding(language)})(?!\w))"),
        dangling=expression(dangling(language)),
        shapes={shape: compiled(shape_named(shape, language)) for shape in SHAPES},
        bare_shapes={shape: compiled([rf"^(?:{getattr(language.shapes, shape)})[.!]?$"]) for shape in SHAPES},
    )


def _adding(language: Language) -> str:
    return "|".join(map(re.escape, language.additions)) or any_("")


def _beginning(patterns: Iterable[str]) -> tuple[Pattern, ...]:
    return compiled(rf"^[\s¿¡,.:;!]*(?:{source})[\s,:!.，：！]*" for source in patterns)


def _whole(source: str, language: Language, *, ended: bool = False) -> str:
    """Return a pattern of words that begin, and may have to end, where words do in the language."""
    if language.unspaced:
        return f"(?:{source})"
    return rf"(?<!\w)(?:{source})" + (r"(?!\w)" if ended else "")


def _corrected(language: Language) -> str:
    """Return a pattern of a thing at the beginning, and of words that take it back before another thing."""
    small = language.connectives
    taken_back = any_(language.requests.corrections)
    unsaid = rf"^(?![^,.;:!?，。、]*(?:{any_(language.requests.speech)}))"  # "a man saying no, wait, a train"
    if language.unspaced:
        return rf"{unsaid}[^,.;:!?，。、]{{1,30}}[,.;!?…，。、]+\s*(?:{taken_back})[\s,.;:!…，。、]+(?=\S)"
    things = "|".join(filter(None, (small.indefinite, small.articles, language.pictures.quantities)))
    another = rf"(?=(?:{things})(?!\w))" if small.indefinite else r"(?=\S)"
    return rf"{unsaid}[^,.;:!?]{{1,60}}[,.;!?…–—-]+\s*(?:{taken_back})(?![^\W\d])[\s,.;:!…–—-]*{another}"


def _determined(language: Language) -> str:
    """Return a pattern of what stands before a thing to leave out: "the", "a single", "single" after "no"."""
    small = language.connectives
    return rf"^(?:({any_(small.determiners)})(?:(?<=['’])|(?!\w))\s*)?(?:(?:{any_(small.sole)})\s+(?=\S))?"


def _leaving_out(language: Language) -> Iterable[str]:
    """Return the patterns of leaving out, with what stresses them: "absolutely no"."""
    words_ = any_(language.requests.emphasis)
    before = rf"[\s,、，。]*(?:{words_})\s*" if language.unspaced else rf"[\s,;.!]*(?<!\w)(?:{words_})[\s,]*"
    after = rf"(?:\s(?:{any_(language.requests.emphasis_after)})(?!\w))?" if not language.unspaced else ""
    stressed = (rf"(?:{before})?(?:{source}){after}" for source in language.requests.without)
    return excluded(language), *stressed, _IN_ENGLISH


def _beginning_another(language: Language) -> str:
    """Return a pattern of what begins a thing to draw, and none to leave out."""
    small = language.connectives
    return rf"(?:{any_(small.indefinite)})\s|(?:{any_(small.nominative)})(?!\w)"


def _filled(source: str, language: Language) -> str:
    """Return a pattern with its placeholders filled in."""
    filled = source.replace("{number}", number_pattern(language)).replace("{things}", things(language))
    return filled.replace("{nouns}", any_(language.pictures.nouns)).replace("{end}", END)


def _of(language: Language) -> str:
    return (
        rf"\s*(?P<of>(?<!\w)(?:{any_(language.pictures.of)})(?:(?<=['’])|(?!\w)|(?<=\s)(?=\w))"
        rf"|(?<!\w)(?:{any_(language.pictures.of_joined)})|:)"
    )


def _picture_of(language: Language) -> tuple[str, ...]:
    if not language.pictures.nouns or language.unspaced:
        return ()
    articles = rf"(?:(?:{any_(language.connectives.indefinite)}|{any_(language.connectives.articles)})\s*)?"
    many = rf"(?:(?:{any_(language.pictures.quantities)})\s+)?"
    final = rf"(?:\s+(?:{any_(language.address.final)})(?!\w)){{0,2}}"
    return (rf"{articles}{many}{picture_nouns(language)}{final}(?:{_of(language)}|(?=\s*,))",)


def _counted(language: Language) -> tuple[str, ...]:
    """Return the patterns of a number of pictures: "a set of four different pictures of", "in four versions"."""
    if language.unspaced:
        return ordered_numbers(language)
    pictures = language.pictures
    sets = rf"(?:(?<!\w)(?:{any_(pictures.sets)})\s+)?"
    range_ = rf"(?:(?<!\w){{number}}\s*(?:[-–]|(?<=\s)(?:{any_(pictures.ranges)})\s)\s*)?"
    count = rf"{range_}(?P<n>{{number}})(?:\s+(?:{any_(pictures.of)})\s*|\s+|-)"
    nouns = picture_nouns(language)
    inside = rf"(?:(?<!\w)(?:{any_(pictures.in_)})\s+)?"
    polite = "|".join(thanks(language)) or NOTHING
    return (
        rf"{sets}{count}{nouns}(?:\s+(?:{any_(language.address.final)})(?!\w)){{0,2}}(?:{polite})?{_of(language)}",
        rf"{inside}{sets}{count}{nouns}{END}",
        rf"(?<!\w)(?:{any_(pictures.nouns)})\s*[:=]\s*(?P<n>{{number}}){END}",
        rf"(?:(?<=^)|[,;:.!?(])\s*(?P<n>{{number}})\s*(?:{any_(pictures.times)})(?!\w)\)?{END}",
        *ordered_numbers(language),
        rf"(?<!\w)(?P<n>{{number}})\s+(?:{any_(pictures.of_them)}){END}",
        r"[,;/(]\s*(?P<n>{number})\)?[\s,;.!]{0,3}$",
        r"^(?!\d)(?P<n>{number})\s*:\s+",
    )


def _described(language: Language) -> str:
    """Return a pattern of a number and of pictures that are described further; the description stays in the prompt."""
    pictures = language.pictures
    plurals = "|".join(pictures.media.values()) or "(?!)"
    nouns = f"{plurals}|{any_(pictures.nouns)}"
    return (
        rf"(?:(?<!\w)(?:{any_(pictures.sets)})\s+)?"
        rf"(?P<n>{{number}})(?:\s+(?:{any_(pictures.of)})\s*|\s+|-)(?:(?:{any_(pictures.before)})\s+)*+"
        rf"(?P<how>(?:[^\W\d_][\w-]{{0,{LONGEST_WORD}}}\s+){{0,2}})(?P<noun>{nouns})(?!\w)"
        rf"(?=(?:\s+[^\W\d_][\w-]{{0,{LONGEST_WORD}}}){{0,4}}{_of(language)}|{END})"
    )


def _singulars(language: Language) -> tuple[tuple[Pattern, str], ...]:
    pictures = language.pictures
    pairs = [*((plurals, singular) for singular, plurals in pictures.media.items())]
    pairs += [(pictures.nouns, pictures.singular)] if pictures.nouns else []
    return tuple((expression(plurals), singular) for plurals, singular in pairs)


def _seed(language: Language, adding: str) -> tuple[str, ...]:
    both = (language, BY_CODE[FALLBACK])
    the = rf"(?:(?:{adding}) ?)?(?:(?:{words('seed.the', *both)}) )?"
    return (rf"{the}(?:{words('seed.word', *both)})\s*[:=#]?\s*(?P<seed>\d{{1,10}})",)
