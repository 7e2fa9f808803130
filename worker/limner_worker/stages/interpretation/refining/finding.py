"""The things of a picture that a message names, in its own words or only beside what it asks for. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.reading.parts import Part
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.colours import colour_in
from limner_worker.stages.interpretation.refining.messages import name_of
from limner_worker.stages.interpretation.refining.remarks import contrasts

SHORTEST: Final = 3
"""The fewest letters of a word that names a thing."""
_LONGEST_SUBJECT: Final = 3
"""The most words of a subject with its adjectives."""
_FEW: Final = 2
"""The same in scripts without spaces."""
_FORM: Final = re.compile(r"\w{0,2}(?!\w)")
"""The end of a word's form: "maison" is none of "mais"."""
_NOUN: Final = 4
"""The letters by which the nouns are known that compounds end with."""
_COMPOUND: Final = 7
"""The fewest letters of a compound."""
_DERIVED: Final = re.compile("(?:chen|lein|tjes?|heid|heit|keit|schaft|ung(?:en)?|innen|ingen|ische?|eren|enden?)$")
"""Endings that are no nouns."""
WORDS: Final = re.compile(r"[^\W\d_]+")
_WIDE: Final = re.compile(r"[\u4e00-\u9fff\u30a1-\u30ff]{2,}|[가-힣]{2,}")
"""Words of Chinese and Japanese that may name things, and of Korean with their particles."""


def place_of(change: Change, old: str) -> re.Match[str] | None:
    """Return where the prompt has a thing, or else the longest word of it."""
    if (at := change.find(name_of(old, change.patterns))) is not None or change.language.unspaced:
        return at
    words = sorted((word for word in WORDS.findall(old) if len(word) > SHORTEST), key=len, reverse=True)
    places = (change.find(word) for word in words)
    return next((at for at in places if at is not None and _FORM.match(change.prompt, at.end())), None)


def head_of(at: re.Match[str], change: Change) -> re.Match[str]:
    """Return where the prompt has a thing without what it is made of: "escada" of "escada de madeira"."""
    made = re.search(rf"\s(?:{change.language.connectives.made_of or NOTHING})\s", at.group(), re.IGNORECASE)
    if made is None or not made.start():
        return at
    return re.compile(r".*", re.DOTALL).match(change.prompt, at.start(), at.start() + made.start()) or at


def with_head(at: re.Match[str], how: str, change: Change) -> re.Match[str]:
    """Return where the prompt has a thing with the one that it describes, if what takes its place names this too:
    "a roof of zinc" for "tuiles" of "toit de tuiles".
    """
    left = change.prompt[: at.start()]
    made = re.search(rf"(?<!\w)(\w+)\s(?:{change.language.connectives.made_of or NOTHING})\s$", left, re.IGNORECASE)
    if made is None or made[1].lower() not in how.lower().split():
        return at
    return re.compile(r".*", re.DOTALL).match(change.prompt, made.start(), at.end()) or at


def is_described_by(old: str, others: Sequence[str], change: Change) -> bool:
    """Return whether words describe another thing in the prompt: "glass" in "a glass table"."""
    things = (re.escape(each) for each in others if each != old)
    return any(re.search(rf"{re.escape(old)}(?:の|的|\s)?{thing}", change.prompt, re.IGNORECASE) for thing in things)


def without_place(at: re.Match[str], how: str, change: Change) -> re.Match[str]:
    """Return where the prompt has a thing without its place, if what takes its place has none: "cat on a mat"."""
    place = change.patterns.before_place.search(at.group())
    if place is None or not place.start() or change.patterns.before_place.search(f" {how} "):
        return at
    return re.compile(r".*", re.DOTALL).match(change.prompt, at.start(), at.start() + place.start()) or at


def shown_of(name: str, change: Change) -> str:
    """Return the name of a thing without its place, if the prompt has it only so: "the portrait [from the wall]"."""
    small = change.language.connectives
    apart = "|".join(filter(None, (small.places, small.thing_ends, small.made_of)))
    first = re.match(rf"(.+?)\s(?:{apart or NOTHING})\s", name, re.IGNORECASE)
    if first is None or change.language.unspaced or change.find(name) is not None or change.find(first[1]) is None:
        return name
    return first[1]


def subject_of(change: Change) -> re.Match[str] | None:
    """Return where the prompt has the noun of its subject, of which it tells more; None if it tells no more."""
    language, small = change.language, change.language.connectives
    article = change.patterns.article.match(change.prompt)
    if article is None or language.unspaced or language.cases:
        return None
    ends = "|".join(filter(None, (small.places, small.beside, small.accompaniments, small.thing_ends, small.holding)))
    noun = r"[^\W\d_]+" if language.colour_after else rf"(?:(?!(?:{ends})\s)[^\W\d_]+\s)*?[^\W\d_]+(?=\s(?:{ends})\s)"
    found = re.compile(noun, re.IGNORECASE).match(change.prompt, article.end())
    if found is None or found.end() == len(change.prompt) or len(found.group().split()) > _LONGEST_SUBJECT:
        return None
    word = re.compile(r"[^\W\d_]+$").search(change.prompt, article.end(), found.end())
    return found if word is None else word


def mentioned(change: Change, parts: Sequence[Part], said: str) -> str | None:
    """Return the word of a message beside its parts that names a thing of the picture; None if none does.

    Of several, it is the last one before what the thing becomes, or else the longest.
    """
    becomes = next((part.text for part in parts if part.role in ("new", "quality")), "")
    before = said[: max(0, said.find(becomes))]
    for part in parts:
        said = said.replace(part.text, " ")
    if change.language.unspaced:
        return _shared(change, said) if contrasts(said, change) else None
    here = (word for word in content(said, change) if colour_in(word, change.language) is None)
    places = ((word, change.find(word)) for word in here)
    whole = [word for word, at in places if at is not None and _FORM.match(change.prompt, at.end())]
    named = max(whole, key=lambda word: (before.rfind(word), len(word)), default=None)
    return _kin(becomes, change) if named is None else named


def _kin(thing: str, change: Change) -> str | None:
    """Return the word of the prompt that ends with the same noun as a thing: "Schreibtisch" for "einen Esstisch"."""
    last = "".join(thing.lower().split()[-1:])
    if not change.language.compounds or len(last) < _COMPOUND or _DERIVED.search(last):
        return None
    for word in WORDS.findall(change.prompt):
        if len(word) >= _COMPOUND and word.lower() != last and word.lower()[-_NOUN:] == last[-_NOUN:]:
            return word
    return None


def content(text: str, change: Change) -> list[str]:
    """Return the words of a text that may name things."""
    small = {*change.language.grammar.split(), *change.language.small_words.split()}
    return [word for word in WORDS.findall(text) if len(word) >= SHORTEST and word.lower() not in small]


def _shared(change: Change, said: str) -> str | None:
    """Return the longest run of characters that a message shares with the prompt; None if it is no word."""
    best = ""
    for run in _WIDE.findall(said):
        pieces = (run[a:b] for a in range(len(run)) for b in range(len(run), a + len(best), -1))
        best = next((each for each in pieces if len(each) >= _FEW and each in change.prompt), best)
    return best or None
