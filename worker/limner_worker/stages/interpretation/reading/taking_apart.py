"""Takes a text apart by the rules of one language: the conditions that it names, and what remains of it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, joined, shortened, squeezed, tidy
from limner_worker.stages.interpretation.reading.address import without_address
from limner_worker.stages.interpretation.reading.commissions import take_commission
from limner_worker.stages.interpretation.reading.fixed_names import BESIDE, is_named
from limner_worker.stages.interpretation.reading.forms import Form, form_of, number_of, things_of, without_tags
from limner_worker.stages.interpretation.reading.lines import in_one_line
from limner_worker.stages.interpretation.reading.orders import body
from limner_worker.stages.interpretation.reading.parsed import MOST, LeavesOut, Model, ParsedRequest
from limner_worker.stages.interpretation.reading.patterns import RequestPatterns, patterns_for
from limner_worker.stages.interpretation.reading.sizes import has_shape, shaped
from limner_worker.stages.interpretation.reading.spelling import normalised, respelled
from limner_worker.stages.interpretation.reading.styles import in_one_sentence, style_patterns, things_before

MAX_SIDE: Final = 65536
ROUNDS: Final = 8
"""The most phrases of asking that are removed one after another."""
MOST_LEFT_OUT: Final = 16
"""The most things to leave out; further phrases of a kind stay in the prompt."""
MOST_REPEATED: Final = 128
"""The most phrases of one kind that leave something out, repetitions included."""
_SAID_TWICE: Final = 2
"""A shape may be said twice: "upright, for my phone's wallpaper"."""
_ENDS: Final = (".", ",", ";", "。", "，", "、")
_BRACKETS: Final = re.compile(r"[(（]([^()（）]{1,40})[)）]")
_MARKS: Final = " .,;。，、"
_QUOTES: Final = re.compile(
    r"\"[^\"]{0,200}\"|“[^”]{0,200}”|«[^»]{0,200}»|„[^“]{0,200}“|「[^」]{0,200}」|『[^』]{0,200}』|《[^》]{0,200}》|‘[^’]{0,200}’"
)


def taken_apart(
    text: str, language: Language, model: Model, *, message: bool = False, leaving: LeavesOut | None = None
) -> ParsedRequest:
    """Return the conditions that a text names by the rules of a language, and the rest of the text.

    A `message` may be a change, whose verbs are kept ("make it blue"). Without `leaving`, words that the rules know to
    leave something out do so to their end.
    """
    patterns = patterns_for(language)
    asking = patterns.polite_tails if message else (*patterns.lead_ins, *patterns.asides, *patterns.tails)
    form = None if message else form_of(text, language)
    found = _prepared(text if form is None else form.subject, language, patterns, message=message)
    found.sizes = model.sizes
    if form is not None:
        _fill(found, form, model, patterns)
    if not message:
        take_commission(found, model)
    if not message and _cut(found, patterns.single):  # before its words are taken for words of asking
        found.n = 1
    plain = found.text if message else in_one_sentence(found.text, model.styles, language)
    asked = plain if message or language.unspaced else without_address(plain, language)
    found.text = _peeled(asked, asking, patterns.speech)
    if match := _cut(found, patterns.seed):
        seed = int(match["seed"])
        found.seed = seed if seed < 2**32 else None
    if found.size is None and (match := _cut(found, patterns.size)):
        found.size = _sized(match)
    for style in sorted(model.styles, key=len, reverse=True):
        of_style = style_patterns(found.text, style, language)
        if found.style is None and _cut(found, of_style, partial(_is_style, found, style)):
            found.style = style
    _count(found, patterns)
    _shape(found, patterns, message=message)
    found.whole = found.text
    _leave_out(found, patterns, leaving or _to_the_end)
    return found


def _prepared(text: str, language: Language, patterns: RequestPatterns, *, message: bool) -> ParsedRequest:
    """Return a text as it is read: in one line, spelled, and without what it tells or takes back at first."""
    told = text if message else without_tags(body(text, language), language)
    narrow = normalised(told, (patterns.speech, patterns.article_last, patterns.dangling))
    lined = in_one_line(narrow, patterns.without)
    if language.unspaced and not message:
        lined = _BRACKETS.sub(partial(_unbracketed, patterns), lined)
    plain = respelled(squeezed(lined), language)
    found = ParsedRequest(plain, language, said=plain)
    for first in () if message else patterns.first:
        found.text = first.sub("", found.text, count=1)
    return found


def _unbracketed(patterns: RequestPatterns, match: re.Match[str]) -> str:
    """Return what stands in brackets between commas, if it leaves something out."""
    return f", {match[1]}, " if any(each.search(match[1]) for each in patterns.without) else match.group()


def _sized(match: re.Match[str]) -> tuple[int, int] | None:
    width = int(match["w"])
    size = width, int(match.groupdict().get("h") or width)
    return size if min(size) >= 1 and max(size) <= MAX_SIDE else None


def _shape(found: ParsedRequest, patterns: RequestPatterns, *, message: bool) -> None:
    """Take words of a shape out of the text."""
    for shape, words in patterns.shapes.items():
        alone = patterns.bare_shapes[shape] if message else ()
        for _ in range(_SAID_TWICE):
            if (found.size is None or has_shape(found.size, shape)) and _cut(found, (*words, *alone)):
                found.size = found.size or shaped(shape, found.sizes)


def _fill(found: ParsedRequest, form: Form, model: Model, patterns: RequestPatterns) -> None:
    """Note what a form says by its keys; a style that the model does not have stays in the text."""
    values = form.values
    if numbers := [number for each in values.get("number", ()) if (number := number_of(each, found.language))]:
        found.n = min(MOST, numbers[0])
    for each in values.get("without", ()):
        found.negative += things_of(each, patterns.lists, patterns.determiners)
    for each in values.get("style", ()):
        said = ParsedRequest(f"x, {each}", found.language)
        style = next((style for style in model.styles if _named(said, style)), None)
        found.style, found.text = (style, found.text) if style else (found.style, f"{found.text}, {each}")
    for each in values.get("size", ()):
        said = ParsedRequest(f"x, {each}", found.language)
        if match := _cut(said, patterns.size):
            found.size = _sized(match)
        shape = next((shape for shape, words in patterns.shapes.items() if _cut(said, words)), None)
        found.size = found.size or (shaped(shape, model.sizes) if shape else None)


def _named(said: ParsedRequest, style: str) -> bool:
    return _cut(said, style_patterns(said.text, style, said.language)) is not None


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
        shown = alone or patterns.placed.match(found.text, match.end())
        return number_in(match["n"], found.language) is not None and not shown

    if found.n is not None:
        return
    if _cut(found, patterns.single):
        found.n = 1
        return
    match = _cut(found, patterns.counted, counts)
    if match is None and (match := patterns.described.search(found.text)) is not None:
        if not counts(match) or patterns.indefinite.fullmatch(match["n"]):
            return
        one = patterns.singular(match["how"], match["noun"])
        found.text = f"{found.text[: match.start()]}{one}{found.text[match.end() :]}"
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
                after = found.text[match.start() + length(match) :]
                rest = after.lstrip(" -")
                left = f"{found.text[: match.start()].rstrip()}{match.groupdict().get('kept') or ''}"
                apart = " " if after != rest and left != found.text[: match.start()] else ""  # two words stay two
                found.text = joined(f"{left}{apart}", rest.lstrip(_MARKS) if left.endswith(_ENDS) else rest)
                return match
    return None
