"""Clauses that change nothing: what someone thinks of a picture, and what only asks. No I/O."""

from __future__ import annotations

from functools import cache
from typing import Final

from limner_worker.languages import expression
from limner_worker.stages.interpretation.language.files import NOTHING
from limner_worker.stages.interpretation.language.schema import Language
from limner_worker.stages.interpretation.language.texts import Pattern, shortened, tidy
from limner_worker.stages.interpretation.reading.patterns import patterns_for
from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.lexemes import MARK, NEW, Lexeme, lexed, longest_first
from limner_worker.stages.interpretation.refining.message import Message

_OF_THING: Final = ("article", "number", "colour", "place")
_LONG: Final = 4
"""The fewest letters of a word of asking at the end of a wish."""


def _has(text: str, change: Change, *kinds: str) -> bool:
    """Return whether a text has a word of one of some kinds."""
    return any(each.has(*kinds) for each in lexed(text, change.language, change.prompt, ()))


def is_opinion(text: str, change: Change) -> bool:
    """Return whether a text only says what someone thinks of a picture or its subject, and asks for nothing."""
    message = Message(text, lexed(text, change.language, change.prompt, ()), change, ())
    runs = message.runs()
    if not message.some("opinions") or (runs and message.some("away")) or not all(message.named(*run) for run in runs):
        return False
    return all(each.has("opinions", "frame", "meant", MARK, NEW) for each in message.words)


def only_asks(text: str, change: Change) -> bool:
    """Return whether a text asks, and does not say what for: "would that be possible?"."""
    words = lexed(text, change.language, change.prompt, ())
    asking = any(each.has("asking") for each in words)
    return asking and all(each.kinds <= {"asking", "frame", "opinions", "meant", MARK} for each in words)


def says_nothing(text: str, change: Change) -> bool:
    """Return whether a text has no content, and denies and adds nothing: "and now rather the whole thing"."""
    kinds = ("frame", "asking", "rather", MARK)
    return all(each.has(*kinds) and not each.has("away", "article") for each in lexed(text, change.language, "", ()))


def without_asking(text: str, change: Change) -> str:
    """Return a thing without words of asking and adding around it: "please better roses", "put in some tulips"."""
    text = shortened(text, patterns_for(change.language).polite_tails)
    words = lexed(text, change.language, change.prompt, ())
    if change.language.unspaced or not words:
        return text
    kept = (each for each in words if not each.has("asking", "rather", "added") or each.has(*_OF_THING))
    first = next(kept, words[0])
    after = (each for each in reversed(words) if not (each.has("added", MARK) or _asks_behind(each)))
    last = next(after, words[-1])
    return text[first.start : last.end]


def _asks_behind(word: Lexeme) -> bool:
    """Return whether a word may ask at the end of a wish ("einen Apfel sehen"), which short ones do not ("a can")."""
    return word.has("asking") and word.end - word.start >= _LONG


def denies(text: str, change: Change) -> bool:
    """Return whether a text denies a thing or takes one away."""
    return _has(text, change, "away")


def adds(text: str, change: Change) -> bool:
    """Return whether a text adds something, or misses it, and puts nothing in the place of something else."""
    return _has(text, change, "added") and not contrasts(text, change)


def contrasts(text: str, change: Change) -> bool:
    """Return whether a text puts something in the place of something else."""
    return _has(text, change, "contrast")


def prefers(text: str, change: Change) -> bool:
    """Return whether a text prefers something else."""
    return _has(text, change, "rather")


def moves(text: str, change: Change) -> bool:
    """Return whether a text puts a picture elsewhere: "move them to the roof"."""
    return _has(text, change, "moves")


def names_something(text: str, change: Change) -> bool:
    """Return whether a text has content: "mehr" has none."""
    return _has(text, change, NEW, "colour", "time", "number")


def only_denies(text: str, change: Change) -> bool:
    """Return whether a text denies or takes away what it does not name: "take it away"."""
    words = lexed(text, change.language, change.prompt, ())
    denied = any(each.has("away") for each in words)
    return denied and all(each.has("away", "frame", "opinions", "meant", MARK) for each in words)


def is_coloured_only(text: str, change: Change) -> bool:
    """Return whether a text names a colour and nothing that has it."""
    words = lexed(text, change.language, change.prompt, ())
    return any(each.has("colour") for each in words) and not any(NEW in each.kinds for each in words)


def seen(text: str, change: Change) -> str | None:
    """Return the thing that a text only says to be in a picture: "I keep seeing people in it"."""
    rest = _seen(change.language).sub(" ", text)
    message = Message(rest, lexed(rest, change.language, change.prompt, ()), change, ())
    runs = message.runs("colour")
    if rest == text or len(runs) != 1 or not message.only("spared", "added", "retried", "number", NEW):
        return None
    return tidy(rest[slice(*runs[0])]) or None


@cache
def _seen(language: Language) -> Pattern:
    words = longest_first(language.changes.words.seen) or NOTHING
    return expression(words if language.unspaced else rf"(?<!\w)(?:{words})(?!\w)")
