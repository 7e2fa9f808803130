"""Applies the parts of a message that a tagger found to the picture before it: "make the boat blue". No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_shared.domain.scenes import Colour
from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.at_rest import at_rest
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, squeezed, tidy
from limner_worker.stages.interpretation.reading.parsed import MOST, ParsedRequest
from limner_worker.stages.interpretation.reading.parts import Part, texts_of
from limner_worker.stages.interpretation.reading.patterns import patterns_for
from limner_worker.stages.interpretation.refining.agreement import shares_words
from limner_worker.stages.interpretation.refining.attributes import is_quality, same_kind
from limner_worker.stages.interpretation.refining.beside import has_place, with_place
from limner_worker.stages.interpretation.refining.change import Change, concluded
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.clauses import clause_of, with_words
from limner_worker.stages.interpretation.refining.colours import (
    colour_in,
    coloured,
    part_coloured,
    shade_in,
)
from limner_worker.stages.interpretation.refining.finding import (
    SHORTEST,
    head_of,
    is_described_by,
    mentioned,
    place_of,
    shown_of,
    subject_of,
    with_head,
    without_place,
)
from limner_worker.stages.interpretation.refining.giving import given
from limner_worker.stages.interpretation.refining.looks import show_look
from limner_worker.stages.interpretation.refining.meant import BECOMES, as_meant
from limner_worker.stages.interpretation.refining.messages import name_of, nominative
from limner_worker.stages.interpretation.refining.moments import is_moment, kinds_in
from limner_worker.stages.interpretation.refining.moving import moved
from limner_worker.stages.interpretation.refining.naming import named_first, named_picture, picture_named
from limner_worker.stages.interpretation.refining.qualities import described
from limner_worker.stages.interpretation.refining.remarks import (
    adds,
    denies,
    names_something,
    prefers,
    without_asking,
)
from limner_worker.stages.interpretation.refining.removing import removed

_SHORT_NAMES: Final = "人字"
"""Things that Chinese and Japanese name with one character, and that a picture often is to lack."""


def by_parts(found: ParsedRequest, parts: Sequence[Part], previous: Sequence[Conditions]) -> Conditions:
    """Return the previous or the named picture with the changes that the parts of a message ask for.

    `found` has the conditions that they name, and all that the message says.
    """
    language = found.language
    patterns = changes_for(language)
    picked = [] if texts_of(parts, "again") else texts_of(parts, "picked")  # "two more" chooses none
    named = picture_named(picked[0], patterns, previous, language) if picked else None
    if named is None and (previous[-1].n or 1) > 1:  # "the second one is so sweet"
        named = named_picture(found.said, patterns, previous)[0] or named_first(found.said, previous[-1], language)
    before = previous[-1] if named is None else named
    told = bool(texts_of(parts, "gone"))
    gone = [
        thing
        for thing in found.negative
        if thing.lower() in before.prompt.lower() or not (told or (len(thing) == 1 and thing not in _SHORT_NAMES))
    ]
    change = Change(patterns, language, before, before.prompt, [], before.n)
    moved = any(is_moment(text, language) for text in texts_of(parts, "place"))
    change.negative += [
        thing for thing in gone if names_something(thing, change) and not (moved and kinds_in(thing, language))
    ]
    _apply(change, parts, found.said)
    _count(change, parts, is_named=named is not None)
    return concluded(change, replace(found, n=None), named is not None)


def _apply(change: Change, parts: Sequence[Part], said: str) -> None:
    parts = as_meant(change, parts, said)
    replaced = texts_of(parts, "old") if texts_of(parts, "new") else []
    for thing in (each for each in texts_of(parts, "gone") if each not in replaced):
        change.negative += _names(change, thing)
    pairs = _paired([part for part in parts if part.role in ("old", *BECOMES)], said, change)
    for old, part in pairs:
        if part is not None and old is None and part.role == "new" and adds(said, change):
            _add(change, with_place(part.text, said, change.language), said)
        elif part is not None:
            several = len(pairs) > 1 and part.role == "new"
            _becomes(change, old or mentioned(change, parts, said), part, said, several=several)
        elif old is not None:
            _goes(change, old, said, is_moved=bool(texts_of(parts, "place")))
    _show(change, parts, said)


def _show(change: Change, parts: Sequence[Part], said: str) -> None:
    """Put the picture elsewhere, and then add things and looks in the order of the message."""
    placed = [text for text in texts_of(parts, "place") if not _is_beside(text, change.language)]
    for text in placed:
        moved(change, text, parts, said)
    for part in parts:
        if part.role == "added":
            _add(change, part.text, said)
        elif part.role == "place" and part.text not in placed:
            change.append(part.text)
        elif part.role == "look":
            show_look(change, part.text)


def _is_beside(place: str, language: Language) -> bool:
    """Return whether words for a place name a thing that is there: "in the background the sea"."""
    return _complement(language).match(place) is not None


def _goes(change: Change, old: str, said: str, *, is_moved: bool) -> None:
    """Take a place away that another one replaces ("in the woods, not on the beach"), or what a message denies."""
    at = change.find(old)
    if at is None:
        return
    led = change.language.unspaced or change.patterns.before_place.search(change.prompt[: at.end()]) is not None
    if is_moved and led and change.patterns.article.sub("", change.prompt[: at.start()]).strip():  # not the subject
        rest = tidy(squeezed(f"{change.prompt[: at.start()]} {change.prompt[at.end() :]}"))
        change.prompt = rest if change.patterns.before_place.match(f" {old} ") else removed(change.prompt, old)
    elif not is_moved and denies(said, change):
        change.negative += _names(change, old)


def _add(change: Change, text: str, said: str) -> None:
    """Add a thing beside the others, or give it to the subject: "give it a hat"."""
    is_named = len(text.rsplit(maxsplit=1)[-1]) > SHORTEST  # not "on it"
    placed = has_place(text, change.language) or (is_named and change.patterns.before_place.search(text) is not None)
    worn = None if placed else given(with_words(said, change.language, [text]), change.prompt, change.language)
    if worn is not None:
        change.prompt = worn
    elif thing := without_asking(text, change):
        change.append(at_rest(nominative(thing, change.language, said), change.language))


def _names(change: Change, words: str) -> list[str]:
    """Return the things that words name."""
    lists = patterns_for(change.language).lists
    names = (name_of(each, change.patterns) for each in lists.split(words))
    return [shown_of(name, change) for name in names if name]


def _paired(parts: Sequence[Part], said: str, change: Change) -> list[tuple[str | None, Part | None]]:
    """Return each part that says what something becomes, with the things of the picture beside it, before or after.

    Of a thing and the material that describes it, the material becomes another: "rather wood than glass for the table".
    """
    found: list[tuple[str | None, Part | None]] = []
    rest = list(parts)
    waiting: list[str] = []
    while rest:
        part = rest.pop(0)
        if part.role == "old":
            waiting.append(part.text)
            continue
        if not waiting and rest and rest[0].role == "old" and not _is_apart(part, rest, said, change):
            waiting = [rest.pop(0).text]
        materials = [old for old in waiting if is_described_by(old, waiting, change)]
        found += [(old, part) for old in materials or waiting or [None]]
        waiting = []
    return [*found, *((old, None) for old in waiting)]


def _is_apart(part: Part, rest: Sequence[Part], said: str, change: Change) -> bool:
    """Return whether the thing behind a part becomes something else, in another clause: "a girl, and her bike red"."""
    other = len(rest) > 1 and rest[1].role in BECOMES
    return other and rest[0].text not in clause_of(part.text, said, change.language)


def _becomes(change: Change, old: str | None, part: Part, said: str, *, several: bool) -> None:
    """Give a thing of the picture, or its subject, another colour or material, or put something in its place.

    Where `several` things change, none of them is the whole picture.
    """
    at = None if old is None else place_of(change, old)
    if part.role == "quality":
        part = Part(part.role, _bare_colour(without_asking(part.text, change), change.language))
    if part.role == "quality" and at is not None and not shares_words(part.text, at.group()):
        at = head_of(at, change)
    if at is not None and (same_kind(part.text, at.group(), change.language) or _is_replaced(at, part, change)):
        change.prompt = f"{change.prompt[: at.start()]}{part.text}{change.prompt[at.end() :]}"  # "wood, not glass"
        return
    other = at is not None and shares_words(part.text, at.group())  # "plastic tables" become "wooden tables"
    if (part.role == "quality" and not other) or (at is not None and is_quality(part.text, change.language)):
        _give_quality(change, at, old, part.text)
        return
    how = nominative(without_asking(part.text, change), change.language)
    if at is not None:
        change.replace(without_place(with_head(at, how, change), how, change), how)
    elif (old is not None or several or prefers(said, change)) and (head := subject_of(change)) is not None:
        change.replace(head, how)
    elif old is None:
        change.prompt = how
    else:
        change.append(how)


def _is_replaced(at: re.Match[str], part: Part, change: Change) -> bool:
    """Return whether a quality takes the place of one that is known: "walnut instead of pine"."""
    known = part.role == "quality" and is_quality(at.group(), change.language)
    return known and not change.language.cases and colour_in(at.group(), change.language) is None


def _give_quality(change: Change, at: re.Match[str] | None, old: str | None, quality: str) -> None:
    """Give the subject, or a thing that the prompt has, another colour or material; another thing is appended."""
    found = shade_in(quality, change.language)
    if old is not None and at is None:
        change.append(f"{quality} {old}")
    elif found is not None:
        colour, shade = found
        if at is not None and (_agrees(quality, colour, change.language) or _said_of(at, quality, change.language)):
            described(change, at, quality)
        elif at is None:
            change.prompt = coloured(change.prompt, change.language, colour, shade)
        else:
            change.prompt = part_coloured(change.prompt, at.group(), change.language, colour, shade)
    else:
        described(change, at, quality, old)


def _bare_colour(quality: str, language: Language) -> str:
    """Return a colour without the preposition that a message has before it: "de azul"."""
    small = "|".join(filter(None, (language.connectives.made_of, language.style.in_)))
    bare = re.sub(rf"^(?:{small or NOTHING})\s+", "", quality, flags=re.IGNORECASE)
    found = colour_in(bare, language) if language.colour_after else None
    return quality if found is None or found[2].start() else bare


def _agrees(quality: str, colour: Colour, language: Language) -> bool:
    """Return whether a colour has the form of its thing in a message already, or never changes: "bleu marine"."""
    if language.code == "ja" and quality.endswith("色"):
        return True
    inflected = " " in quality or quality.lower() != language.colours[colour].split("|")[0]
    return language.cases or (language.colour_after and inflected)


def _said_of(at: re.Match[str], colour: str, language: Language) -> bool:
    """Return whether a colour ends as its thing does, and so agrees with it as it is: "telhado", "vermelho"."""
    return language.colour_after and at.group()[-1:] in "oa" and colour[-1:] == at.group()[-1:]


@cache
def _complement(language: Language) -> Pattern:
    """Return a pattern of where a thing to add is: "in the background"."""
    return expression(NOTHING if language.unspaced else rf"(?:{language.connectives.complements or NOTHING})\s+\w")


def _count(change: Change, parts: Sequence[Part], *, is_named: bool) -> None:
    """Note the number of pictures, and that others are wanted; what picks none of several pictures is a number."""
    again = texts_of(parts, "again")
    told = texts_of(parts, "number") or (texts_of(parts, "picked") if not is_named else [])
    numbers = [number_in(text, change.language) for text in told]
    number = next((min(MOST, each) for each in numbers if each), None)
    if again or number is not None:
        change.n, change.another = number or 1, True
