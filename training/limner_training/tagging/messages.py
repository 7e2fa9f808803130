"""Synthetic messages about a picture in eleven languages, of which each character's role is known.

A message joins wishes and remarks of `follow_ups/`, in which braces mark what matters ("make the {old:boat}
{new:blue}"), and puts other things in the places of some. What it says of the picture is in a description of it; some
messages were written with their description.
"""

from __future__ import annotations

import random
import tomllib
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import groupby
from typing import Final

from limner_training.tagging.descriptions import Described, Writer
from limner_training.tagging.kinds import Phrases, split
from limner_training.tagging.marks import pieces
from limner_worker.networks.word_tagger import MESSAGE_ROLES
from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.language.texts import WIDE

_SAID, _AGAIN, _SUBJECT = map(MESSAGE_ROLES.index, ("said", "again", "subject"))
_NOUNS: Final = ("old", "gone")
_PAIRED: Final = 0.7
"""How often a message is one that was written with its description."""
_EXCHANGED: Final = {
    "old": 0.5,
    "gone": 0.5,
    "new": 0.4,
    "quality": 0.4,
    "added": 0.4,
    "place": 0.25,
    "look": 0.25,
    "number": 0.3,
}
"""How often something else takes the place of what is marked, by role."""
_PAIR: Final = " | "
"""What stands between a description and a message about it."""
_ENDS: Final = ".!?…。\uff01\uff1f~\uff5e"


@cache
def follow_ups(language: str, *, held_out: bool) -> Phrases:
    """Return the lines of a language by kind: those to train with, or those held out."""
    text = files("limner_training.tagging").joinpath("follow_ups", f"{language}.toml").read_text("utf-8")
    return {kind: split(kind, some, held_out=held_out) for kind, some in tomllib.loads(text).items()}


class MessageWriter:
    """Writes messages in one language."""

    def __init__(self, language: str, choose: random.Random, *, held_out: bool = False) -> None:
        """With `held_out`, the lines are those that training leaves out."""
        self._language = language
        self._choose = choose
        self._lines = follow_ups(language, held_out=held_out)
        self._things = Writer(language, choose, held_out=held_out)
        marked = [each for kind in ("wishes", "combined") for line in self._lines[kind] for each in pieces(line)]
        self._pools = {role: [words for words, each in marked if each == role] for role in MESSAGE_ROLES}
        self._wide = language != "ko" and self._lines["remarks"][0][0] >= WIDE

    def __call__(self) -> Described:
        """Return a new message with a description of its picture."""
        if self._chance(_PAIRED):
            prompt, wish = self._pair()
            found = self._joined(self._between_remarks([wish], (0.3, 0.08), 0.12))
        else:
            kind = self._choose.choices(["remarks", "subject", "combined", "wishes"], [6, 8, 36, 50])[0]
            parts = {"remarks": self._only_remarks, "subject": self._bare_subject}.get(kind, self._with_remarks)(kind)
            found = self._joined(parts)
            prompt = self._described(found)
        self._things.spoil(found)
        found.prompt = prompt
        return found

    def _joined(self, parts: Sequence[Described]) -> Described:
        found = Described(self._language)
        for at, part in enumerate(parts):
            if at:
                found.add(self._between(found.text), _SAID)
            found.join(part)
        if self._chance(0.3) and found.text[-1] not in _ENDS:
            found.add(self._choose.choice("。\uff01\uff1f" if self._wide else ".!?"), _SAID)
        if self._chance(0.4):
            found.text = found.text[:1].upper() + found.text[1:]
        return found

    def _pair(self) -> tuple[str, Described]:
        """Return a description and a marked line about it, with other things in the places of some in both."""
        prompt, line = self._line("pairs").split(_PAIR)
        found = Described(self._language)
        for words, role in pieces(line):
            shown = words if role is None else self._exchanged(role, words)
            if shown != words and role in _NOUNS:
                at = prompt.lower().find(words.lower())
                prompt = prompt if at < 0 else f"{prompt[:at]}{shown}{prompt[at + len(words) :]}"
            found.add(shown, _SAID if role is None else MESSAGE_ROLES.index(role))
        return prompt, found

    def _described(self, message: Described) -> str:
        """Return a description with most things that a message says of its picture, and others."""
        told: list[str] = []
        at = 0
        for role, some in groupby(message.roles):
            start, at = at, at + len(list(some))
            told += [message.text[start:at].strip()] if MESSAGE_ROLES[role] in _NOUNS else []
        things = [each for each in dict.fromkeys(told) if each and self._chance(0.9)]
        if not things or self._chance(0.25):
            things.append(self._things.shown())
        things += [self._things.noun() for _ in range(self._choose.choice((0, 1, 1, 2)))]
        self._choose.shuffle(things)
        found = things[0]
        for thing in things[1:]:
            found += self._line("links") + thing
        return found

    def _chance(self, share: float) -> bool:
        return self._choose.random() < share

    def _line(self, kind: str) -> str:
        return self._choose.choice(self._lines[kind])

    def _remark(self, kind: str = "remarks") -> Described:
        found = Described(self._language)
        aside = kind == "remarks" and self._chance(0.25)
        found.add(self._things.aside() if aside else self._line(kind), _SAID)
        return found

    def _only_remarks(self, _: str) -> list[Described]:
        return [self._remark() for _ in range(self._choose.choice((1, 1, 2)))]

    def _bare_subject(self, _: str) -> list[Described]:
        found = Described(self._language)
        found.add(self._things.shown(), _SUBJECT)
        return [*([self._remark()] if self._chance(0.25) else []), found]

    def _with_remarks(self, kind: str) -> list[Described]:
        count = self._choose.choices([1, 2, 3], [7, 3, 1])[0] if kind == "wishes" else 1
        wishes = [self._wish(kind) for _ in range(count)]
        if subjects := [each for each in wishes if _SUBJECT in each.roles]:
            wishes = subjects[:1]
        return self._between_remarks(wishes, (0.45, 0.1), 0.15)

    def _between_remarks(self, wishes: list[Described], before: Sequence[float], after: float) -> list[Described]:
        """Return wishes with remarks before and after them, as often as these shares say."""
        first = [self._remark() for share in before if self._chance(share)]
        if _AGAIN in wishes[0].roles and self._chance(0.35):
            first.append(self._remark("faults"))
        return [*first, *wishes, *([self._remark()] if self._chance(after) else [])]

    def _wish(self, kind: str) -> Described:
        """Return a marked line, with other things in the places of some."""
        found = Described(self._language)
        for words, role in pieces(self._line(kind)):
            shown = words if role is None else self._exchanged(role, words)
            found.add(shown, _SAID if role is None else MESSAGE_ROLES.index(role))
        return found

    def _exchanged(self, role: str, words: str) -> str:
        """Return what is marked, or something else of its role."""
        if role == "subject" and self._chance(0.6):
            return self._things.shown()
        if not self._chance(_EXCHANGED.get(role, 0)):
            return words
        if role in _NOUNS and self._chance(0.6):
            return self._things.noun()
        if role == "number":
            numbers = [word for word, value in BY_CODE[self._language].numbers.items() if 1 < value <= 12]
            return str(self._choose.randint(2, 12)) if words.isdigit() else self._choose.choice(numbers)
        return self._choose.choice(self._pools[role])

    def _between(self, before: str) -> str:
        """Return what stands between a message's beginning and its next part."""
        if before[-1] in _ENDS:
            return "" if self._wide else " "
        if self._chance(0.2):
            return self._line("joins")
        marks = ["\uff0c", "\uff0c", "。", "\uff01", " "] if self._wide else [", ", ", ", ". ", "! ", "... ", " ", " "]
        return self._choose.choice(marks)
