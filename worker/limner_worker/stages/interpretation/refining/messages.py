"""What the readers of a message that changes a picture ask of its text. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation.language.declension import named_alone
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, stripped, tidy
from limner_worker.stages.interpretation.reading.parsed import MOST
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.changes import ChangePatterns
from limner_worker.stages.interpretation.refining.wishes import without_wishes


def undoes(text: str, patterns: ChangePatterns) -> bool:
    """Return whether a message asks for the picture before the last one, and nothing else."""
    return patterns.undo.fullmatch(text.strip(" .!?。！？")) is not None


def without_politeness(text: str, patterns: ChangePatterns) -> str:
    """Return a message without the words of politeness around it."""
    for pattern in (*patterns.polite, *patterns.polite):
        text = pattern.sub("", text, count=1)
    return text


def nominative(text: str, language: Language, said: str = "") -> str:
    """Return a thing as a prompt names it: with another article, or in the nominative.

    What a message (`said`) misses is in the genitive in some languages.
    """
    if language.cases:
        missed = re.search(language.changes.words.missed or NOTHING, said, re.IGNORECASE) is not None
        return named_alone(text, missed=missed)
    article, _, noun = text.partition(" ")
    return f"{language.nominative.get(article.lower(), article)} {noun}".strip()


def bare_style(text: str, styles: Sequence[str], patterns: ChangePatterns) -> str | None:
    """Return the style that a text only names, perhaps with words of changing."""
    left, _ = stripped(strip_first(patterns.change, text)[0], patterns.fillers)
    return next((style for style in styles if " ".join(left.split()).lower() == style.lower()), None)


def count_alone(text: str, change: Change) -> int | None:
    """Return the number of pictures that a text consists of; None if it is no such text."""
    match = first_match(change.patterns.count_alone, text.strip(" ,"))
    value = None if match is None else number_in(match["n"], change.language)
    return min(MOST, value) if value else None


def name_of(text: str, patterns: ChangePatterns) -> str:
    """Return the name of a thing without its article."""
    return tidy(patterns.determiner.sub("", text.strip(), count=1)) or tidy(text)


def tells(text: str, patterns: ChangePatterns) -> bool:
    """Return whether a text begins or ends like a change or an addition."""
    if patterns.adding.match(text):
        return True
    kinds = (patterns.change, patterns.comparatives, patterns.placed, patterns.remove, patterns.change_after)
    return bool(text) and any(pattern.search(text) for kind in kinds for pattern in kind)


def familiar(text: str, before: Conditions) -> bool:
    """Return whether the prompt before has the text."""
    return tidy(text).lower() in before.prompt.lower()


def is_filler(text: str, patterns: ChangePatterns) -> bool:
    """Return whether a text has only words that mean nothing on their own."""
    return not stripped(text, patterns.fillers)[0].strip()


def only_asks(text: str, patterns: ChangePatterns, language: Language) -> bool:
    """Return whether a text has no other words than those of asking, with or without those that mean nothing."""
    plain = stripped(text, patterns.fillers)[0]
    return not (without_wishes(text, language) and without_wishes(plain, language))


def first_match(patterns: Iterable[Pattern], text: str) -> re.Match[str] | None:
    """Return the first match of the patterns."""
    return next((match for pattern in patterns if (match := pattern.search(text))), None)


def strip_first(patterns: Iterable[Pattern], text: str) -> tuple[str, bool]:
    """Return a text without the first match of the patterns, and whether there is one."""
    for pattern in patterns:
        match = pattern.search(text)
        if match is not None and match.group():
            return f"{text[: match.start()]} {text[match.end() :]}".strip(), True
    return text, False
