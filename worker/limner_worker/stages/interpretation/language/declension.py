"""Russian words in the form that a sentence asks for, by the dictionary of pymorphy3 (Korobov 2015). Thread-safe."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import pymorphy3

_CASES: Final[Mapping[str, tuple[str, ...]]] = {
    "с": ("ablt", "gent"), "со": ("ablt", "gent"), "над": ("ablt",), "под": ("ablt", "accs"), "перед": ("ablt",),
    "за": ("ablt", "accs"), "между": ("ablt",), "рядом": ("ablt",), "в": ("loct", "accs"), "во": ("loct", "accs"),
    "на": ("loct", "accs"), "о": ("loct",), "при": ("loct",), "у": ("gent",), "из": ("gent",), "от": ("gent",),
    "до": ("gent",), "без": ("gent",), "для": ("gent",), "около": ("gent",), "возле": ("gent",), "вокруг": ("gent",),
    "к": ("datv",), "ко": ("datv",), "по": ("datv",), "через": ("accs",),
}  # fmt: skip
"""By preposition, the cases of what follows it."""
_NEAR: Final = 3
"""The most words between a preposition and its noun."""
_WORD: Final = re.compile(r"[\u0400-\u04ff]+(?:-[\u0400-\u04ff]+)*")
_NOUN: Final = "NOUN"
_ADJECTIVES: Final = ("ADJF", "PRTF")
_VERBS: Final = ("VERB", "INFN", "GRND")
_EITHER: Final = "masc"
"""The gender of adjectives of nouns for persons of either ("судья")."""
Parse = Any
"""A reading of a word; the library has no types."""


def in_its_place(left: str, old: str, new: str) -> tuple[str, str]:
    """Return the text before a thing, and another thing to put in its place, in the forms that the sentence asks for.

    Adjectives directly before the old thing agree with the new one, or go if it has its own.
    """
    noun = _head(old)
    head = _head(new)
    if noun is None or head is None:
        return left, new
    case = str(_reading(noun.group(), left).tag.case)
    start = _adjectives_start(left)
    reading = _inflected(head.group(), case)
    if head.start():
        kept = ""
    elif reading is None:
        kept = left[start:]
    else:
        kept = _WORD.sub(lambda word: _agreed(word.group(), reading, case), left[start:])
    return left[:start] + kept, _in_case(new, case)


def agreeing(words: str, noun: str, left: str, named: str = "") -> str:
    """Return adjectives in the form of a noun that follows a text; as they are beside another word.

    `named` is the noun in another form, which tells which of two it is: "банку" is no form of "банк".
    """
    head = _head(noun)
    if head is None:
        return words
    reading = _reading(head.group(), left, named)
    return _WORD.sub(lambda word: _agreed(word.group(), reading, str(reading.tag.case)), words)


def in_form_of(adjective: str, other: str) -> str:
    """Return an adjective in the form of another one: "синий" as "красной" is "синей"."""
    known = next((each for each in _readings(other) if each.tag.POS in _ADJECTIVES), None)
    reading = next((each for each in _readings(adjective) if each.tag.POS in _ADJECTIVES), None)
    if known is None or reading is None:
        return adjective
    form = {known.tag.case, known.tag.number, known.tag.gender, known.tag.animacy} - {None}
    found = reading.inflect(form)
    return adjective if found is None else _like(adjective, found.word)


def named_alone(thing: str, *, missed: bool = False) -> str:
    """Return a thing that a sentence has as an object as it is named: "рыжую кошку" as "рыжая кошка".

    What is `missed` is in the genitive: "не хватает кошки".
    """
    head = _head(thing)
    if head is None:
        return thing
    readings = [each for each in _readings(head.group()) if each.tag.POS == _NOUN]
    cases = {str(each.tag.case) for each in readings}
    if (adjective := _WORD.search(thing[: head.start()])) is not None:  # "воздушного змея" is no "змея"
        cases &= {str(each.tag.case) for each in _readings(adjective.group()) if each.tag.POS in _ADJECTIVES}
    if missed and "gent" in cases:
        return _in_case(thing, "nomn", "gent")
    return _in_case(thing, "nomn", "accs") if "accs" in cases and "nomn" not in cases else thing


def standing(thing: str, prepositions: str) -> str:
    """Return a thing with a place where something is put as one where it is: "на стол" as "на столе"."""
    said = re.search(rf"(?<!\w)({prepositions})\s+", thing, re.IGNORECASE)
    if said is not None and any(word.lower() in _CASES for word in _WORD.findall(thing[: said.start()])):
        return thing  # another preposition governs it
    head = None if said is None else _head(thing[said.end() :])
    if said is None or head is None:
        return thing
    kept, case = _CASES[said[1].lower()][0], {str(each.tag.case) for each in _readings(head.group())}
    rest = thing[said.end() :]
    return thing if kept in case or "accs" not in case else thing[: said.end()] + _in_case(rest, kept, "accs")


def is_adjective(word: str) -> bool:
    """Return whether a word is an adjective, and likely no noun."""
    readings = _readings(word)
    return bool(readings) and readings[0].tag.POS in _ADJECTIVES


@cache
def forms_of(word: str) -> tuple[str, ...]:
    """Return the forms of a word in the dictionary, longest first; none if it does not know it."""
    readings = [each for each in _readings(word) if each.is_known]
    found = {form.word for each in readings for form in each.lexeme}
    return tuple(sorted(found, key=len, reverse=True))


@cache
def _analyzer() -> Any:
    return pymorphy3.MorphAnalyzer(lang="ru")


def _readings(word: str) -> Sequence[Parse]:
    """Return the readings of a word; none of one in another script, by which the dictionary's library may fail."""
    return _analyzer().parse(word) if _WORD.fullmatch(word) else ()


def _head(words: str) -> re.Match[str] | None:
    """Return the first noun of some words, if only adjectives are before it."""
    found = list(_WORD.finditer(words))
    kinds = [[each.tag.POS for each in _readings(word.group())] for word in found]
    for at, word in enumerate(found):
        before_noun = at + 1 < len(found) and _NOUN in kinds[at + 1] and not set(kinds[at]).isdisjoint(_ADJECTIVES)
        if kinds[at][0] in _ADJECTIVES or before_noun:  # "старого" is a noun too
            continue
        return word if _NOUN in kinds[at] else None
    return None


def _reading(noun: str, left: str, named: str = "") -> Parse:
    """Return the likeliest reading of a noun after a text, whose last preposition tells the case."""
    readings = [each for each in _readings(noun) if each.tag.POS == _NOUN] or list(_readings(noun))
    same = {each.normal_form for each in _readings(named)} if named else set[str]()
    readings = [each for each in readings if each.normal_form in same] or readings
    before = [word.group().lower() for word in _WORD.finditer(left)][-_NEAR:]
    alone = () if before else ("nomn",)
    acts = bool(before) and _readings(before[-1])[0].tag.POS in _VERBS
    cases = next((_CASES[word] for word in reversed(before) if word in _CASES), ("accs",) if acts else alone)
    return next((each for case in cases for each in readings if each.tag.case == case), readings[0])


def _inflected(noun: str, case: str, *from_cases: str) -> Parse | None:
    """Return a noun, which is named or in one of some cases, in another one; None if the dictionary has no form."""
    readings = [each for each in _readings(noun) if each.tag.POS == _NOUN]
    named = (each for each in readings if each.tag.case in (from_cases or ("nomn", "accs")))
    return next(named, readings[0]).inflect({case})


def _in_case(thing: str, case: str, *from_cases: str) -> str:
    """Return a thing whose noun, and the adjectives before it, have another case."""
    head = _head(thing)
    shown = None if head is None else _inflected(head.group(), case, *from_cases)
    if head is None or shown is None:
        return thing
    words = _WORD.sub(lambda word: _agreed(word.group(), shown, case), thing[: head.start()])
    return f"{words}{_like(head.group(), shown.word)}{thing[head.end() :]}"


def _adjectives_start(left: str) -> int:
    """Return where the adjectives at the end of a text begin."""
    start = len(left)
    for word in reversed(list(_WORD.finditer(left))):
        if _readings(word.group())[0].tag.POS not in _ADJECTIVES or left[word.end() : start].strip():
            break
        start = word.start()
    return start


def _agreed(word: str, noun: Parse, case: str) -> str:
    """Return an adjective in the form of a noun; another word as it is."""
    reading = next((each for each in _readings(word) if each.tag.POS in _ADJECTIVES), None)
    if reading is None:
        return word
    gender = noun.tag.gender or _EITHER
    form = {case, "plur"} if noun.tag.number == "plur" else {case, "sing", str(gender)}
    if case == "accs" and noun.tag.animacy is not None and noun.tag.gender != "femn":
        form.add(str(noun.tag.animacy))
    found = reading.inflect(form)
    return word if found is None else _like(word, found.word)


def _like(written: str, word: str) -> str:
    """Return a word with the capital, and the letter ё, as it was written."""
    if "ё" in word and "ё" not in written.lower() and written.lower().count("е") > word.count("е"):
        word = word.replace("ё", "е")
    return word[:1].upper() + word[1:] if written[:1].isupper() else word
