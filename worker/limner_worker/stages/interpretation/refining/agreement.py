"""Whether what the rules read of a message agrees with what a tagger found in it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import WIDE
from limner_worker.stages.interpretation.reading.parts import Part, texts_of

SHOWN: Final = ("added", "place", "look", "new")
"""Roles whose words are in a prompt afterwards."""
_SHORT: Final = 3
"""Words of at most this many letters may join others."""
_STEM: Final = 4
"""The letters by which forms of a word are known."""
_ENDS: Final = re.compile("[.!?。\uff01\uff1f]")
_WORDS: Final = re.compile(r"[^\W_]+")


def agrees(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language) -> bool:
    """Return whether conditions have all that the parts of a message ask for, and no other words of it."""
    if texts_of(parts, "subject") or _has_ends(found, before):
        return False
    return (
        _has_all(found, parts, language)
        and _is_changed(found, parts, before)
        and _is_all(found, parts, before, language)
    )


def _has_all(found: Conditions, parts: Sequence[Part], language: Language) -> bool:
    """Return whether the prompt has the words that are to be seen, or leaves them out."""
    told = _stems(f"{found.prompt} {found.negative_prompt}")
    roles = (*SHOWN, "gone", *(("quality",) if language.unspaced else ()))
    return all(_stems(text) <= told for text in texts_of(parts, *roles)) and not _keeps_old(found, parts)


def _has_ends(found: Conditions, before: Conditions) -> bool:
    """Return whether the prompt has ends of sentences that the one before did not have: of more than a thing."""
    return len(_ENDS.findall(found.prompt)) > len(_ENDS.findall(before.prompt))


def _keeps_old(found: Conditions, parts: Sequence[Part]) -> bool:
    """Return whether the prompt still has a thing or a place that another one replaces."""
    replaced = texts_of(parts, "old") if texts_of(parts, "new", "place") and not texts_of(parts, "quality") else []
    return any(text.lower() in found.prompt.lower() for text in replaced)


def _is_changed(found: Conditions, parts: Sequence[Part], before: Conditions) -> bool:
    """Return whether what is to change differs from the picture before, and nothing else of it."""
    is_other = bool(texts_of(parts, "again", "number"))
    changes = (
        found.prompt != before.prompt or not texts_of(parts, "quality", "new"),
        (found.seed is None) == is_other or before.seed is None,
        found.n == 1 or (before.n or 1) == 1 or not texts_of(parts, "picked"),
        found.style != before.style or before.style is not None or not texts_of(parts, "style"),
        found.width != before.width or before.width is not None or not texts_of(parts, "size"),
    )
    return all(changes)


def _is_all(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language) -> bool:
    """Return whether the prompt has no words of the message beside its parts, and nothing to be seen is left out."""
    shown = _stems(" ".join(texts_of(parts, *SHOWN)))
    if _stems(found.negative_prompt) & shown - _stems(before.negative_prompt):
        return False
    known = _stems(" ".join([before.prompt, *(part.text for part in parts)]))
    other = {word for word in _stems(found.prompt) - known if len(word) > _SHORT or word[0] >= WIDE}
    return not other - _stems(" ".join(language.grammar.split()))


def mentions(found: Conditions, parts: Sequence[Part], before: Conditions) -> bool:
    """Return whether conditions have the looks that parts ask for, and half of the words of all that is to be seen."""
    if texts_of(parts, "subject") or _keeps_old(found, parts) or _has_ends(found, before):
        return False
    told = _stems(f"{found.prompt} {found.negative_prompt}")
    shown = [_stems(text) for text in texts_of(parts, "added", "place")]
    looks = all(_stems(text) <= told for text in texts_of(parts, "look"))
    return looks and all(2 * len(stems & told) >= len(stems) for stems in shown)


def _stems(text: str) -> set[str]:
    """Return the beginnings of the words of a text in small letters; in scripts without spaces, its characters."""
    words = _WORDS.findall(text.lower())
    wide = {letter for word in words if word[0] >= WIDE for letter in word}
    return wide | {word[:_STEM] for word in words if word[0] < WIDE}
