"""The clauses of a message, of which each may change a picture: "make it blue, and add a tree". No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, tidy
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.lexemes import LONGEST
from limner_worker.stages.interpretation.refining.remarks import (
    denies,
    is_coloured_only,
    is_opinion,
    only_asks,
    only_denies,
    seen,
)

MOST: Final = 4
"""The most clauses that are read one by one."""
Reads = Callable[[str, Sequence[Conditions]], Conditions | None]
"""Reads a clause that changes the last of some pictures; None if it does not."""


def one_by_one(text: str, language: Language, previous: Sequence[Conditions], reads: Reads) -> Conditions | None:
    """Return the last picture with the changes of all clauses of a message; None if a clause is no change.

    Clauses that only say what someone thinks of the picture, or only ask, change nothing.
    """
    if len(text) > LONGEST:
        return None
    before = _unchanged(language, previous)
    said = [part for part in parts_of(text, language) if not (is_opinion(part, before) or only_asks(part, before))]
    said = _dismissed(said, before)
    parts = [part for part in said if not only_denies(part, before)]
    if not any(denies(part, before) for part in parts):  # but "I don't like the hat, take it away"
        parts = said
    if not 1 <= len(parts) <= MOST or tidy(parts[0]) == tidy(text):
        return None
    if sum(is_coloured_only(part, before) for part in parts) > 1:  # "red, white and blue"
        return None
    changed: list[Conditions] = []
    for part in parts:
        now = reads(part, [*previous, *changed])
        if now is None:
            return None
        changed = [now]
    return changed[-1]


def _dismissed(parts: Sequence[str], before: Change) -> list[str]:
    """Return clauses in which a denial names the thing that the clause before says to be there.

    "I see people in it. Can they go?"
    """
    without = before.language.phrases.without.replace(": ", " ")
    found: list[str] = []
    for part in parts:
        thing = seen(found[-1], before) if found and only_denies(part, before) else None
        found = [*found[:-1], without.replace("{without}", thing)] if thing else [*found, part]
    return found


def is_remark(text: str, language: Language, previous: Sequence[Conditions]) -> bool:
    """Return whether a message of some words only says what someone thinks of a picture."""
    some = len(text.split()) > 1 or language.unspaced
    return some and is_opinion(text, _unchanged(language, previous))


def without_remarks(text: str, language: Language, previous: Sequence[Conditions]) -> str:
    """Return a message without the clauses at its beginning that only say what someone thinks of a picture."""
    before = _unchanged(language, previous)
    parts = parts_of(text, language) if len(text) <= LONGEST else []
    first = next((part for part in parts if not is_opinion(part, before)), None)
    return text if first is None else text[text.index(first) :]


def with_words(text: str, language: Language, words: Sequence[str]) -> str:
    """Return the clauses of a text that have some of these words."""
    clauses = parts_of(text, language)
    return ", ".join(each for each in clauses if any(some in each for some in words)) or text


def parts_of(text: str, language: Language) -> list[str]:
    """Return the clauses of a text."""
    return [part.strip() for part in _joints(language).split(text) if tidy(part)]


def clause_of(words: str, text: str, language: Language) -> str:
    """Return the clause of a text that has some words; the text if none has all of them."""
    return next((each for each in parts_of(text, language) if words in each), text)


def _unchanged(language: Language, previous: Sequence[Conditions]) -> Change:
    last = previous[-1]
    return Change(changes_for(language), language, last, last.prompt, [], last.n)


@cache
def _joints(language: Language) -> Pattern:
    small = language.connectives
    links = "|".join(filter(None, (small.links, small.and_))) or NOTHING
    words = NOTHING if language.unspaced else rf",?\s+(?:{links})(?:\s+(?:{links}))?\s+"
    ends = "".join(rf"|(?<={re.escape(end)})\s+" for end in small.clause_ends.split())
    return expression(rf"[.!?…]+(?:\s+|$)|[,;:]\s+|[，。！？；、]|\s[–—-]\s|{words}{ends}", re.IGNORECASE)
