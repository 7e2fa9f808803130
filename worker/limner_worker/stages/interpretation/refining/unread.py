"""What is read of a message that neither the rules nor a tagger read as a whole. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import WIDE
from limner_worker.stages.interpretation.refining.agreement import is_sound
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.changes import changes_for
from limner_worker.stages.interpretation.refining.clauses import parts_of
from limner_worker.stages.interpretation.refining.finding import mentioned
from limner_worker.stages.interpretation.refining.lexemes import MARK, NEW, lexed
from limner_worker.stages.interpretation.refining.remarks import denies, is_opinion
from limner_worker.stages.interpretation.refining.removing import removed

_SMALL: Final = 2
"""The most letters of a word that names no thing."""
SHORT: Final = 4
"""The most words of a message that may be another subject, though a tagger does not say so."""
_RETRY: Final = 5
"""The most words of a clause that asks for another try."""
_FEW: Final = 12
"""The same in characters, in scripts without spaces."""


def may_be_subject(said: str, language: Language) -> bool:
    """Return whether a message may be nothing but another subject: it is short, or begins as a thing that is new."""
    if language.unspaced:
        return len(said) <= _FEW
    return len(said.split()) <= SHORT or changes_for(language).indefinite.match(said) is not None


def is_plain(found: Conditions, before: Conditions, said: str, language: Language) -> bool:
    """Return whether what the rules read of a message, in which a tagger finds no wish, has no sentences of it."""
    known = f"{before.prompt}, {before.negative_prompt}".lower()
    new = (each for each in found.negative_prompt.split(", ") if each.lower() not in known)
    return is_sound(found, (), before, said) and all(_is_name(each, language) for each in new)


def _is_name(thing: str, language: Language) -> bool:
    """Return whether what is left out may be a thing: not a sentence, and no pronoun."""
    words, small = thing.lower().split(), {*language.small_words.split()}
    sentence = len(words) >= SHORT or sum(word in small for word in words) > 1
    return not sentence and (len(thing) > _SMALL or thing >= WIDE)


def partly_read(
    said: str,
    language: Language,
    previous: Sequence[Conditions],
    reads: Callable[[str, Sequence[Conditions]], Conditions | None],
) -> Conditions:
    """Return the last picture with the changes of the clauses of a message that can be read alone.

    If none can, and the message denies something, the thing that it names goes; else the picture stays.
    """
    before, now = previous[-1], previous[-1]
    for clause in parts_of(said, language):
        changed = reads(clause, [*previous[:-1], now])
        if changed is not None and is_plain(changed, now, said, language) and not _opinion(clause, language, before):
            now = changed
    if now != before:
        return now
    if any(_is_retry(clause, language) for clause in parts_of(said, language)):
        return before.model_copy(update={"n": 1, "seed": None})
    change = Change(changes_for(language), language, before, before.prompt, [], before.n)
    thing = mentioned(change, (), said) if denies(said, change) else None
    if thing is None or (left := removed(before.prompt, thing)) == before.prompt:
        return before
    negative = ", ".join(filter(None, (before.negative_prompt, thing)))
    return before.model_copy(update={"prompt": left, "negative_prompt": negative})


def _is_retry(clause: str, language: Language) -> bool:
    """Return whether a short clause asks for another try, with a word at most that is unknown: "try agian"."""
    words = [each for each in lexed(clause, language, "", ()) if not each.has(MARK)]
    new = [each for each in words if NEW in each.kinds]
    asks = any(each.has("retried") for each in words) and not any(each.has("away", "added", "colour") for each in words)
    return asks and len(new) <= 1 and len(words) <= _RETRY


def _opinion(clause: str, language: Language, before: Conditions) -> bool:
    return is_opinion(clause, Change(changes_for(language), language, before, before.prompt, [], before.n))
