"""How a request begins and ends beside its conditions, composed of the words in the language files. No I/O."""

from __future__ import annotations

from typing import Final

from limner_worker.stages.interpretation.language.files import BY_CODE, FALLBACK, NOTHING
from limner_worker.stages.interpretation.language.number_words import number_pattern
from limner_worker.stages.interpretation.language.schema import Language

_LONGEST_REASON: Final = 160
"""The most characters of a reason before a request."""


def beginnings(language: Language) -> tuple[str, ...]:
    """Return the patterns of what precedes a request's subject: a reason, phrases of asking, English courtesies."""
    return (
        *_reasons(language),
        *language.requests.lead_ins,
        rf"(?:{BY_CODE[FALLBACK].requests.courtesies or NOTHING})(?![a-z])",
    )


def thanks(language: Language) -> tuple[str, ...]:
    """Return the patterns of thanks at the end, in the language and in English."""
    return (*language.requests.polite_tails, *BY_CODE[FALLBACK].requests.polite_tails)


def _reasons(language: Language) -> tuple[str, ...]:
    """Return the patterns of a reason before a request, with a conjunction between or before them.

    The request must be for a thing of its own: in "a fox, so make it wide", the first clause names the subject.
    """
    small, requests = language.connectives, language.requests
    if not requests.reasons:
        return ()
    things = "|".join(filter(None, (small.indefinite, language.pictures.quantities, number_pattern(language))))
    new = rf"(?:{things})(?!\w)" if small.indefinite else rf"(?!(?:{requests.pronouns or NOTHING})(?!\w))"
    asked = rf"(?=(?:[\s,]+(?:{'|'.join(requests.lead_ins)}))++[\s,]+{new})"
    clause = rf"[^.!?]{{3,{_LONGEST_REASON}}}?"
    first = rf"(?:{requests.because or NOTHING})\s{clause},{asked}"
    return (rf"{clause}[,;]\s+(?:{requests.reasons})(?!\w){asked}", first)
