"""Applies the parts of a message that a tagger found to the picture before it: "make the boat blue". No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.texts import HANGUL
from limner_worker.stages.interpretation.reading.parsed import MOST, ParsedRequest
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.reading.patterns import patterns_for
from limner_worker.stages.interpretation.refining.change import Change, concluded
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.clauses import with_words
from limner_worker.stages.interpretation.refining.colours import (
    ATTRIBUTE,
    colour_beside,
    colour_in,
    coloured,
    part_coloured,
    shade_in,
)
from limner_worker.stages.interpretation.refining.giving import given
from limner_worker.stages.interpretation.refining.messages import name_of, nominative
from limner_worker.stages.interpretation.refining.naming import named_picture, picture_named
from limner_worker.stages.interpretation.refining.remarks import adds, denies, says_nothing
from limner_worker.stages.interpretation.refining.removing import removed

_BECOMES: Final = ("new", "quality")
_LONGEST_PREPOSITION: Final = 3
_SHORTEST: Final = 3
"""The fewest letters of a word that names a thing."""
_WORDS: Final = re.compile(r"[^\W\d_]+")


def by_parts(found: ParsedRequest, parts: Sequence[Part], previous: Sequence[Conditions]) -> Conditions:
    """Return the previous or the named picture with the changes that the parts of a message ask for.

    `found` has the conditions that they name, and all that the message says.
    """
    language = found.language
    patterns = changes_for(language)
    picked = texts_of(parts, "picked")
    named = picture_named(picked[0], patterns, previous, language) if picked else None
    if named is None and (previous[-1].n or 1) > 1:  # "the second one is so sweet"
        named, _ = named_picture(found.said, patterns, previous)
    before = previous[-1] if named is None else named
    change = Change(patterns, language, before, before.prompt, list(found.negative), before.n)
    _apply(change, parts, found.said)
    _count(change, parts, is_named=named is not None)
    return concluded(change, replace(found, n=None), named is not None)


def _apply(change: Change, parts: Sequence[Part], said: str) -> None:
    for thing in texts_of(parts, "gone"):
        change.negative += _names(change, thing)
    for old, part in _paired([part for part in parts if part.role in ("old", *_BECOMES)]):
        if part is not None and old is None and part.role == "new" and adds(said, change):
            _add(change, part.text, said)
        elif part is not None:
            _becomes(change, old or _mentioned(change, parts, said), part)
        elif old is not None:
            _goes(change, old, said, is_moved=bool(texts_of(parts, "place")))
    for text in texts_of(parts, "place"):
        _place(change, text)
    for text in texts_of(parts, "added"):
        _add(change, text, said)
    for text in texts_of(parts, "look"):
        if not says_nothing(text, change):
            change.append(text)


def _goes(change: Change, old: str, said: str, *, is_moved: bool) -> None:
    """Take a place away that another one replaces ("in the woods, not on the beach"), or what a message denies."""
    if is_moved:
        change.prompt = removed(change.prompt, old)
    elif change.find(old) is not None and denies(said, change):
        change.negative += _names(change, old)


def _add(change: Change, text: str, said: str) -> None:
    """Add a thing beside the others, or give it to the subject: "give it a hat"."""
    worn = given(with_words(said, change.language, [text]), change.prompt, change.language)
    if worn is not None:
        change.prompt = worn
    else:
        change.append(nominative(text, change.language))


def _names(change: Change, words: str) -> list[str]:
    """Return the things that words name."""
    lists = patterns_for(change.language).lists
    return [name for each in lists.split(words) if (name := name_of(each, change.patterns))]


def _paired(parts: Sequence[Part]) -> list[tuple[str | None, Part | None]]:
    """Return each part that says what something becomes, with the things of the picture beside it, before or after."""
    found: list[tuple[str | None, Part | None]] = []
    rest = list(parts)
    waiting: list[str] = []
    while rest:
        part = rest.pop(0)
        if part.role == "old":
            waiting.append(part.text)
            continue
        if not waiting and rest and rest[0].role == "old":
            waiting = [rest.pop(0).text]
        found += [(old, part) for old in waiting or [None]]
        waiting = []
    return [*found, *((old, None) for old in waiting)]


def _mentioned(change: Change, parts: Sequence[Part], said: str) -> str | None:
    """Return the longest word of a message beside its parts that names a thing of the picture; None if none does."""
    if change.language.unspaced:
        return None
    for part in parts:
        said = said.replace(part.text, " ")
    small = {*change.language.grammar.split(), *change.language.small_words.split()}
    words = [word for word in _WORDS.findall(said) if len(word) >= _SHORTEST and word.lower() not in small]
    here = [word for word in words if change.find(word) is not None and colour_in(word, change.language) is None]
    return max(here, key=len, default=None)


def _becomes(change: Change, old: str | None, part: Part) -> None:
    """Give a thing of the picture, or its subject, another colour or material, or put something in its place."""
    at = None if old is None else change.find(name_of(old, change.patterns))
    if part.role == "quality":
        _give_quality(change, at, old, part.text)
        return
    how = nominative(part.text, change.language)
    if at is not None:
        change.replace(at, how)
    elif old is None:
        change.prompt = how
    else:
        change.append(how)


def _give_quality(change: Change, at: re.Match[str] | None, old: str | None, quality: str) -> None:
    """Give the subject, or a thing that the prompt has, another colour or material; another thing is appended."""
    found = shade_in(quality, change.language)
    there = colour_in(change.prompt, change.language)
    if old is not None and at is None:
        change.append(f"{quality} {old}")
    elif found is not None:
        colour, shade = found
        if at is None:
            change.prompt = coloured(change.prompt, change.language, colour, shade)
        else:
            change.prompt = part_coloured(change.prompt, at.group(), change.language, colour, shade)
    elif at is not None:
        change.prompt = _described(change, at, quality)
    elif there is not None:
        change.prompt = f"{change.prompt[: there[2].start()]}{quality}{change.prompt[there[2].end() :]}"
    else:
        change.append(quality)


def _described(change: Change, at: re.Match[str], quality: str) -> str:
    """Return the prompt with a quality that is no colour of the tables beside a thing: "of oak" behind it, "wooden"
    before it.

    It takes the place of a colour beside the thing, and of another material after the same word.
    """
    if (there := colour_beside(change.prompt, change.language, at)) is not None:
        return f"{change.prompt[: there[2].start()]}{quality}{change.prompt[there[2].end() :]}"
    left, right = change.prompt[: at.start()], change.prompt[at.end() :]
    if change.language.unspaced:
        joins = "の" if change.language.code == "ja" and not ATTRIBUTE.search(quality) else ""
        space = " " if HANGUL.match(quality) else ""
        return f"{left}{quality}{joins}{space}{at.group()}{right}"
    word, _, material = quality.partition(" ")
    behind = bool(material) and len(word) <= _LONGEST_PREPOSITION
    if behind:
        right = re.sub(rf"^\s+{re.escape(word)}\s+\w+", "", right)
    if behind or change.language.colour_after:
        return f"{left}{at.group()} {quality}{right}"
    return f"{left}{quality} {at.group()}{right}"


def _place(change: Change, text: str) -> None:
    """Put the picture elsewhere, or give it another time, season or weather, instead of another one."""
    if change.patterns.times.search(text):
        change.give_time(text)
    elif change.language.unspaced:
        change.append(text)
    else:
        change.place(text)


def _count(change: Change, parts: Sequence[Part], *, is_named: bool) -> None:
    """Note the number of pictures, and that others are wanted; what picks none of several pictures is a number."""
    again = texts_of(parts, "again")
    told = texts_of(parts, "number") or (texts_of(parts, "picked") if not is_named else [])
    numbers = [number_in(text, change.language) for text in told]
    number = next((min(MOST, each) for each in numbers if each), None)
    if again or number is not None:
        change.n, change.another = number or 1, True
