"""Takes a text apart by the rules of one language: the conditions that it names, and what remains of it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, joined, shortened, squeezed, tidy
from limner_worker.stages.interpretation.reading.address import without_address
from limner_worker.stages.interpretation.reading.fixed_names import BESIDE, is_named
from limner_worker.stages.interpretation.reading.lines import in_one_line
from limner_worker.stages.interpretation.reading.orders import body
from limner_worker.stages.interpretation.reading.patterns import RequestPatterns, patterns_for
from limner_worker.stages.interpretation.reading.spelling import normalised, respelled
from limner_worker.stages.interpretation.reading.styles import style_patterns, things_before

MAX_SIDE: Final = 65536
MOST: Final = 1000
"""The most pictures that conditions may ask for."""
ROUNDS: Final = 8
"""The most phrases of asking that are removed one after another."""
MOST_LEFT_OUT: Final = 16
"""The most things to leave out; further phrases of a kind stay in the prompt."""
MOST_REPEATED: Final = 128
"""The most phrases of one kind that leave something out, repetitions included."""
_SAID_TWICE: Final = 2
"""A shape may be said twice: "upright, for my phone's wallpaper"."""
_ENDS: Final = (".", ",", ";", "。", "，", "、")
_MARKS: Final = " .,;。，、"
_QUOTES: Final = re.compile(
    r"\"[^\"]{0,200}\"|“[^”]{0,200}”|«[^»]{0,200}»|„[^“]{0,200}“|「[^」]{0,200}」|『[^』]{0,200}』|《[^》]{0,200}》|‘[^’]{0,200}’"
)


LeavesOut = Callable[[str, int], int]
"""How many characters of words of leaving out, whose thing begins at a place, do leave something out.

The others say what to draw.
"""


@dataclass(frozen=True)
class Model:
    """What a model offers: the names of its styles, and its sizes."""

    styles: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]


@dataclass
class ParsedRequest:
    """The conditions found in a text, and the rest of the text."""

    text: str
    language: Language
    whole: str = ""
    """The text with what it leaves out."""
    negative: list[str] = field(default_factory=list[str])
    style: str | None = None
    size: tuple[int, int] | None = None
    n: int | None = None
    seed: int | None = None
    said: str = ""
    """The whole text."""
    sizes: tuple[tuple[int, int], ...] = ()
    """The sizes that the model offers."""


def taken_apart(
    text: str, language: Language, model: Model, *, message: bool = False, leaving: LeavesOut | None = None
) -> ParsedRequest:
    """Return the conditions that a text names by the rules of a language, and the rest of the text.

    A `message` may be a change, whose verbs are kept ("make it blue"). Without `leaving`, words that the rules know to
    leave something out do so to their end.
    """
    patterns = patterns_for(language)
    asking = patterns.polite_tails if message else (*patterns.lead_ins, *patterns.asides, *patterns.tails)
    told = text if message else body(text, language)
    narrow = normalised(told, (patterns.speech, patterns.article_last, patterns.dangling))
    plain = respelled(squeezed(in_one_line(narrow, patterns.without)), language)
    found = ParsedRequest(plain, language, said=plain, sizes=model.sizes)
    if not message and _cut(found, patterns.single):  # before its words are taken for words of asking
        found.n, plain = 1, found.text
    asked = plain if message or language.unspaced else without_address(plain, language)
    found.text = _peeled(asked, asking, patterns.speech)
    if match := _cut(found, patterns.seed):
        seed = int(match["seed"])
        found.seed = seed if seed < 2**32 else None
    if match := _cut(found, patterns.size):
        width = int(match["w"])
        size = width, int(match.groupdict().get("h") or width)
        found.size = size if min(size) >= 1 and max(size) <= MAX_SIDE else None
    for style in sorted(model.styles, key=len, reverse=True):
        if found.style is None and _cut(
            found, style_patterns(found.text, style, language), partial(_is_style, found, style)
        ):
            found.style = style
    _count(found, patterns)
    for shape, words in patterns.shapes.items():
        alone = patterns.bare_shapes[shape] if message else ()
        for _ in range(_SAID_TWICE):
            if (found.size is None or _has_shape(found.size, shape)) and _cut(found, (*words, *alone)):
                found.size = found.size or shaped(shape, model.sizes)
    found.whole = found.text
    _leave_out(found, patterns, leaving or _to_the_end)
    return found


def subject_of(found: ParsedRequest) -> str:
    """Return the rest of a text without phrases of asking; empty if nothing remains."""
    patterns = patterns_for(found.language)
    phrases = (*patterns.lead_ins, *patterns.picture_of, *patterns.asides, *patterns.tails, *patterns.pictures_after)
    text = without_address(
        _peeled(without_address(tidy(found.text), found.language), phrases, patterns.speech), found.language
    )
    return tidy(patterns.dangling.sub("", f" {text}"))


def _peeled(text: str, phrases: Sequence[Pattern], said: Pattern) -> str:
    for _ in range(ROUNDS):
        before = text
        text = shortened(text, phrases, said)
        if before == text:
            break
    return text


def _count(found: ParsedRequest, patterns: RequestPatterns) -> None:
    """Take the number of pictures out of the text."""

    def counts(match: re.Match[str]) -> bool:
        before = f" {_beside(found.text, match)}"
        of = bool(match.groupdict().get("of"))
        alone = not of and (patterns.dangling.search(before) or patterns.indefinite.fullmatch(match["n"]))
        return number_in(match["n"], found.language) is not None and not alone

    if found.n is not None or _cut(found, patterns.single):
        found.n = 1
        return
    match = _cut(found, patterns.counted, counts)
    if match is None and (match := patterns.described.search(found.text)) is not None:
        if not counts(match) or patterns.indefinite.fullmatch(match["n"]):
            return
        noun = next((one for plural, one in patterns.singulars if plural.fullmatch(match["noun"])), match["noun"])
        found.text = f"{found.text[: match.start()]}{match['how']}{noun}{found.text[match.end() :]}"
    if match is not None and not patterns.indefinite.fullmatch(match["n"]):
        found.n = min(MOST, number_in(match["n"], found.language) or 0) or None


def _leave_out(found: ParsedRequest, patterns: RequestPatterns, leaving: LeavesOut) -> None:
    """Take what is not wanted out of the text."""
    quotes: list[tuple[int, int]] = []

    def length(match: re.Match[str]) -> int:
        article = patterns.determiners.match(match["what"])
        thing = match.start("what") - match.start() + (0 if article is None else article.end())
        return min(begins_another(match.group(), patterns), leaving(match.group(), thing))

    def is_meant(match: re.Match[str]) -> bool:
        before = _beside(found.text, match)
        quoted = any(start < at < end for start, end in quotes for at in match.span())
        said = patterns.article_last.search(before) or patterns.speech.search(before)
        named = is_named(found.text, match.span(), match["what"], patterns)
        denied = not (quoted or said or named or is_doubled(found.text, match.span(), patterns))
        return (
            denied and length(match) > match.start("what") - match.start() and not _is_polite(match["what"], patterns)
        )

    for pattern in patterns.without:
        for _ in range(MOST_REPEATED):
            quotes[:] = [each.span() for each in _QUOTES.finditer(found.text)]
            match = _cut(found, [pattern], is_meant, length)
            if match is None or len(found.negative) >= MOST_LEFT_OUT:
                break
            found.negative += [each for each in _things(match, length(match), patterns) if each not in found.negative]
    if found.negative:
        found.text = patterns.joined_first.sub("", patterns.joined_twice.sub(r"\g<last>", found.text))


def _things(match: re.Match[str], length: int, patterns: RequestPatterns) -> list[str]:
    """Return the things that the first characters, `length` of them, of words of leaving out name."""
    what = match["what"][: length - (match.start("what") - match.start())]
    things = [name for thing in patterns.lists.split(what) for name in _names(thing, patterns)]
    plain = [_without_courtesy(patterns.determiners.sub("", name.strip(), count=1), patterns) for name in things]
    found = [tidy(each) or tidy(name) for each, name in zip(plain, things, strict=True)]
    real = (each for each in dict.fromkeys(found) if each and not patterns.idle.fullmatch(each))
    return [each for each in real if not _is_polite(each, patterns)]


def _without_courtesy(thing: str, patterns: RequestPatterns) -> str:
    """Return a thing without a courtesy after it: "no gulls please, square"."""
    thing = patterns.stressed.sub("", thing.rstrip())
    ends = (match.start() for each in patterns.polite_tails if (match := each.search(thing)) is not None)
    return thing[: min((end for end in ends if end), default=len(thing))]


def _is_polite(words: str, patterns: RequestPatterns) -> bool:
    """Return whether words are no thing but a courtesy: "ohne Möwen und bitte", "without gulls, thanks"."""
    return any(pattern.fullmatch(words.strip()) for pattern in patterns.tails)


def _names(thing: str, patterns: RequestPatterns) -> list[str]:
    """Return a thing to leave out, or those that further words of leaving out within it name."""
    found = (each for pattern in patterns.without if (each := pattern.search(thing)) is not None)
    first = min(found, key=lambda match: match.start(), default=None)
    if first is None:
        return [thing]
    return [*filter(str.strip, [thing[: first.start()]]), *_names(first["what"], patterns)]


def is_doubled(text: str, span: tuple[int, int], patterns: RequestPatterns) -> bool:
    """Return whether words that leave something out are themselves negated: "not without a hat"."""
    return any(each.start() < span[1] and each.end() > span[0] for each in patterns.doubled.finditer(text))


def begins_another(clause: str, patterns: RequestPatterns) -> int:
    """Return where another thing to draw begins within words that leave something out; their length if none does.

    It has an indefinite article, and none has one before: "without windows and a tree".
    """
    match = patterns.another.search(clause, 1)
    if match is None or patterns.article.search(clause[: match.start()]):
        return len(clause)
    return match.start()


def _beside(text: str, match: re.Match[str]) -> str:
    """Return what stands just before a match."""
    return text[max(0, match.start() - BESIDE) : match.start()].rstrip()


def _is_style(found: ParsedRequest, style: str, match: re.Match[str]) -> bool:
    """Return whether the name of a style is none of a thing: "gafas 3d"."""
    bare = match.group().lstrip()[:1].lower() == style[0]
    return not (bare and things_before(style, found.language).search(found.text[: match.start()]))


def _has_shape(size: tuple[int, int], shape: str) -> bool:
    """Return whether a size in pixels has a shape that is said too: "256x384, upright"."""
    wider = (size[0] > size[1]) - (size[0] < size[1])
    return {"square": 0, "wide": 1, "tall": -1}.get(shape) == wider


def shaped(shape: str, sizes: Sequence[tuple[int, int]]) -> tuple[int, int] | None:
    """Return the size that a shape means; None if no size has that shape."""
    by_area = sorted(sizes, key=lambda size: size[0] * size[1])
    fitting = {
        "small": by_area[:1],
        "large": by_area[-1:],
        "square": [size for size in sizes if size[0] == size[1]],
        "wide": [size for size in sizes if size[0] > size[1]],
        "tall": [size for size in sizes if size[0] < size[1]],
    }[shape]
    return fitting[0] if fitting else None


def _always(_: re.Match[str]) -> bool:
    return True


def _to_the_end(words: str, _: int) -> int:
    return len(words)


def _whole(match: re.Match[str]) -> int:
    return len(match.group())


def _cut(
    found: ParsedRequest,
    patterns: Iterable[Pattern],
    accepted: Callable[[re.Match[str]], bool] = _always,
    length: Callable[[re.Match[str]], int] = _whole,
) -> re.Match[str] | None:
    """Remove the first accepted match of the first pattern that has one, or a `length` of it; return the match.

    Its group `kept` stays, if it has one.
    """
    for pattern in patterns:
        for match in pattern.finditer(found.text):
            if match.group().strip() and accepted(match):
                rest = found.text[match.start() + length(match) :].lstrip(" -")
                left = f"{found.text[: match.start()].rstrip()}{match.groupdict().get('kept') or ''}"
                found.text = joined(left, rest.lstrip(_MARKS) if left.endswith(_ENDS) else rest)
                return match
    return None
