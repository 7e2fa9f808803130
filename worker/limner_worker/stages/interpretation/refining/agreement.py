"""Whether what the rules read of a message agrees with what a tagger found in it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from limner_shared.domain.conditions import Conditions
from limner_worker.stages.interpretation.language.number_words import number_in
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import HANGUL, WIDE
from limner_worker.stages.interpretation.reading.parts import Part, texts_of

SHOWN: Final = ("added", "place", "look", "new")
"""Roles whose words are in a prompt afterwards."""
_SHORT: Final = 3
"""Words of at most this many letters may join others."""
_COPIED: Final = 4
"""The words that are a part of a sentence."""
_STEM: Final = 4
"""The letters by which forms of a word are known."""
_QUALITY: Final = 3
"""The letters by which forms of a quality are known."""
_ENDS: Final = re.compile("[.!?。\uff01\uff1f]")
_WORDS: Final = re.compile(r"[^\W_]+")


def agrees(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language, said: str) -> bool:
    """Return whether conditions have all that the parts of a message ask for, and no other words of it."""
    return (
        is_sound(found, parts, before, said)
        and _has_all(found, parts, before, language)
        and _is_changed(found, parts, before, language)
        and _is_all(found, parts, before, language)
    )


def is_sound(found: Conditions, parts: Sequence[Part], before: Conditions, said: str) -> bool:
    """Return whether conditions are of the same subject, without what is replaced and without whole sentences."""
    return not (
        texts_of(parts, "subject")
        or _has_ends(found, before)
        or _repeats_old(found, parts, before)
        or _keeps_old(found, parts)
        or _doubles(found, parts, before)
        or _copies(found, parts, before, said)
        or _leaves_out_more(found, parts, before)
        or _loses_more(found, parts, before)
        or _has_particles(found, parts, said)
        or (_only_looks(parts) and not _keeps_most(found, before))
    )


def _has_particles(found: Conditions, parts: Sequence[Part], said: str) -> bool:
    """Return whether the prompt has a Korean word of a message with the particles that are in none of its parts."""
    words = (word for word in _WORDS.findall(said) if HANGUL.match(word))
    told = found.prompt.split()
    things = texts_of(parts, "new", "added")
    return any(
        each.startswith(word) and word != text
        for word in words
        for text in things
        if word.startswith(text)
        for each in told
    )


def _only_looks(parts: Sequence[Part]) -> bool:
    return bool(texts_of(parts, "look")) and not texts_of(parts, "new", "subject", "gone", "old")


def _keeps_most(found: Conditions, before: Conditions) -> bool:
    """Return whether most of a prompt is still there."""
    stems = _stems(before.prompt)
    return len(stems & _stems(found.prompt)) * 2 >= len(stems)


def _loses_more(found: Conditions, parts: Sequence[Part], before: Conditions) -> bool:
    """Return whether most of a prompt is gone, of which one thing takes the place of another."""
    if not texts_of(parts, "new", "quality") or not texts_of(parts, "old"):
        return False
    if HANGUL.search(before.prompt):
        olds = texts_of(parts, "old")
        words = [word for word in before.prompt.split() if not any(old in word for old in olds)]
        return sum(word in found.prompt for word in words) * 2 < len(words) - 1
    rest = {stem for stem in _stems(before.prompt) if len(stem) == _STEM} - _stems(" ".join(texts_of(parts, "old")))
    return len(rest) > 1 and len(rest & _stems(found.prompt)) * 2 <= len(rest)


def _leaves_out_more(found: Conditions, parts: Sequence[Part], before: Conditions) -> bool:
    """Return whether more is left out than the things that go: "the chairs please, I only sell the table"."""
    gone = texts_of(parts, "gone")
    known = _stems(" ".join((*gone, before.prompt, before.negative_prompt)))
    more = [each for each in found.negative_prompt.split(", ") if not _stems(each) <= known]
    kept = " ".join(texts_of(parts, "old")) if texts_of(parts, "quality", "new") and not gone else ""
    if any(_stems(each) <= _stems(kept) for each in found.negative_prompt.split(", ") if each):
        return True  # "copper, not brass"
    told = any(len(each.split()) >= _COPIED for each in more)  # "none of them looks as I imagined, again"
    return bool(more and gone) or (told and bool(texts_of(parts, "again")))


def _copies(found: Conditions, parts: Sequence[Part], before: Conditions, said: str) -> bool:
    """Return whether the prompt has some words of a message one after the other that are in none of its parts."""
    known = [f" {' '.join(_WORDS.findall(text.lower()))} " for text in (before.prompt, *(each.text for each in parts))]
    words, message = _WORDS.findall(found.prompt.lower()), f" {' '.join(_WORDS.findall(said.lower()))} "
    runs = (f" {' '.join(words[at : at + _COPIED])} " for at in range(len(words) - _COPIED + 1))
    return any(run in message and not any(run in text for text in known) for run in runs)


def _has_all(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language) -> bool:
    """Return whether the prompt has the words that are to be seen, or leaves them out."""
    told = _stems(f"{found.prompt} {found.negative_prompt}")
    roles = (*SHOWN, *(("quality",) if language.unspaced else ()))
    shown = all(_stems(text) <= told for text in texts_of(parts, *roles))
    return shown and _leaves_out(found, parts) and _shows_qualities(found, parts, before, language)


def _leaves_out(found: Conditions, parts: Sequence[Part]) -> bool:
    """Return whether all that is to go is left out."""
    return all(_stems(text) <= _stems(found.negative_prompt) for text in texts_of(parts, "gone"))


def _shows_qualities(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language) -> bool:
    """Return whether the prompt has a form of the words of each quality ("gelber" of "gelb"), and what it describes."""
    told = found.prompt.lower()
    words = [word[:_QUALITY] for text in texts_of(parts, "quality") for word in _WORDS.findall(text.lower())]
    kept = [] if texts_of(parts, "new", "gone") or not words else texts_of(parts, "old")
    long = [word for word in words if len(word) == _QUALITY] or words
    if language.colour_after and kept:  # the message has the form that agrees
        bases = {forms.split("|")[0] for forms in language.colours.values()}
        long += [text.lower() for text in texts_of(parts, "quality") if text.isalpha() and text.lower() not in bases]
    lost = any(text[0] >= WIDE and text in before.prompt and text not in found.prompt for text in kept)
    there = all(_stems(max(text.split(), key=len)) & _stems(told) for text in kept)
    return all(stem in told for stem in long) and there and not lost


def _has_ends(found: Conditions, before: Conditions) -> bool:
    """Return whether conditions have ends of sentences that those before did not have: of more than a thing."""
    said, known = found.prompt + found.negative_prompt, before.prompt + before.negative_prompt
    return len(_ENDS.findall(said)) > len(_ENDS.findall(known))


def _keeps_old(found: Conditions, parts: Sequence[Part]) -> bool:
    """Return whether the prompt still has a thing or a place that another one replaces."""
    replaced = texts_of(parts, "old") if texts_of(parts, "new", "place") and not texts_of(parts, "quality") else []
    told = f" {' '.join(_WORDS.findall(' '.join(texts_of(parts, *SHOWN)).lower()))} "
    words = _WORDS.findall(found.prompt.lower())
    left = (word for text in replaced for word in _WORDS.findall(text.lower())[1:] if f" {word} " not in told)
    return any(text.lower() in found.prompt.lower() for text in replaced) or any(
        word in words for word in left if len(word) >= _SHORT
    )


def _repeats_old(found: Conditions, parts: Sequence[Part], before: Conditions) -> bool:
    """Return whether the prompt has a thing more often than before, of which only a quality changes."""
    old, new = before.prompt.lower(), found.prompt.lower()
    return any(new.count(text.lower()) > max(1, old.count(text.lower())) for text in texts_of(parts, "old"))


def _doubles(found: Conditions, parts: Sequence[Part], before: Conditions) -> bool:
    """Return whether the prompt has a long word of the picture before twice, of which no part has it."""
    old, new = (_WORDS.findall(each.prompt.lower()) for each in (before, found))
    told = _WORDS.findall(" ".join(part.text for part in parts).lower())
    return any(new.count(word) > old.count(word) > 0 for word in old if len(word) > _STEM and word not in told)


def _is_changed(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language) -> bool:
    """Return whether what is to change differs from the picture before, and nothing else of it."""
    is_other = bool(texts_of(parts, "again", "number"))
    changes = (
        found.prompt != before.prompt or not texts_of(parts, "quality", "new"),
        (found.seed is None) == is_other or before.seed is None,
    )
    return all(changes) and _has_conditions(found, parts, before, language)


def _has_conditions(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language) -> bool:
    """Return whether the chosen picture, the style and the size are those that the parts name."""
    changes = (
        found.n == 1 or (before.n or 1) == 1 or not texts_of(parts, "picked"),
        found.style != before.style or before.style is not None or not texts_of(parts, "style"),
        found.width != before.width or before.width is not None or not texts_of(parts, "size"),
    )
    numbers = [number_in(text, language) for text in texts_of(parts, "number")]
    return all(changes) and (not numbers or found.n in numbers or not any(numbers))


def _is_all(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language) -> bool:
    """Return whether the prompt has no words of the message beside its parts, and nothing to be seen is left out."""
    shown = _stems(" ".join(texts_of(parts, *SHOWN)))
    if _stems(found.negative_prompt) & shown - _stems(before.negative_prompt):
        return False
    known = _stems(" ".join([before.prompt, *(part.text for part in parts)]))
    other = {word for word in _stems(found.prompt) - known if len(word) > _SHORT or word[0] >= WIDE}
    return not other - _stems(" ".join(language.grammar.split()))


def mentions(found: Conditions, parts: Sequence[Part], before: Conditions, language: Language, said: str) -> bool:
    """Return whether conditions have the looks, qualities and places that parts ask for, and half of the words of other
    parts.

    In scripts without spaces they have all characters of these.
    """
    told = _stems(f"{found.prompt} {found.negative_prompt}")
    shown = [_stems(text) for text in texts_of(parts, "added", *(() if language.cases else ("new",)))]
    enough = all(len(stems & told) >= len(stems) / (1 if max(stems, default="") >= WIDE else 2) for stems in shown)
    enough = enough and all(_long(_stems(text)) <= told for text in texts_of(parts, "place"))
    return (
        is_sound(found, parts, before, said)
        and all(_stems(text) <= _stems(found.prompt) for text in texts_of(parts, "look"))
        and _has_conditions(found, parts, before, language)
        and (found.seed is None or not texts_of(parts, "again", "number"))
        and _leaves_out(found, parts)
        and _shows_qualities(found, parts, before, language)
        and enough
    )


def _long(stems: set[str]) -> set[str]:
    return {stem for stem in stems if len(stem) == _STEM or stem >= WIDE}


def shares_words(text: str, other: str) -> bool:
    """Return whether two texts share a long word; forms of a word are one."""
    return bool({stem for stem in _stems(text) & _stems(other) if len(stem) == _STEM})


def _stems(text: str) -> set[str]:
    """Return the beginnings of the words of a text in small letters; in scripts without spaces, its characters."""
    words = _WORDS.findall(text.lower())
    wide = {letter for word in words if word[0] >= WIDE for letter in word}
    return wide | {word[:_STEM] for word in words if word[0] < WIDE}
