"""Synthetic messages about a picture in eleven languages, of which each character's role is known.

A message joins wishes and remarks of `follow_ups/`, in which braces mark what matters ("make the {old:boat}
{new:blue}"), and puts other things in the places of some.
"""

from __future__ import annotations

import random
import re
import tomllib
from functools import cache
from importlib.resources import files
from typing import Final

from limner_training.tagging.descriptions import Described, Writer
from limner_training.tagging.kinds import Phrases, split
from limner_worker.networks.word_tagger import FOLLOW_UP_ROLES
from limner_worker.stages.interpretation.language.files import BY_CODE
from limner_worker.stages.interpretation.language.texts import WIDE

_MARKED: Final = re.compile(r"\{(\w+):([^{}]*)\}")
_CODES: Final = {"add": "added", "n": "number", "pick": "picked"}
"""Codes of marks that are not the names of their roles."""
_SAID, _AGAIN, _SUBJECT = map(FOLLOW_UP_ROLES.index, ("said", "again", "subject"))
_NOUNS: Final = ("old", "gone")
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
        marked = [mark for kind in ("wishes", "combined") for line in self._lines[kind] for mark in _marks(line)]
        self._pools = {role: [words for each, words in marked if each == role] for role in FOLLOW_UP_ROLES}
        self._wide = language != "ko" and self._lines["remarks"][0][0] >= WIDE

    def __call__(self) -> Described:
        """Return a new message."""
        kind = self._choose.choices(["remarks", "subject", "combined", "wishes"], [6, 8, 36, 50])[0]
        parts = {"remarks": self._only_remarks, "subject": self._bare_subject}.get(kind, self._with_remarks)(kind)
        found = Described(self._language)
        for at, part in enumerate(parts):
            if at:
                found.add(self._between(found.text), _SAID)
            found.join(part)
        if self._chance(0.3) and found.text[-1] not in _ENDS:
            found.add(self._choose.choice("。\uff01\uff1f" if self._wide else ".!?"), _SAID)
        if self._chance(0.4):
            found.text = found.text[:1].upper() + found.text[1:]
        self._things.spoil(found)
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
        before = [self._remark() for share in (0.45, 0.1) if self._chance(share)]
        if _AGAIN in wishes[0].roles and self._chance(0.35):
            before.append(self._remark("faults"))
        after = [self._remark()] if self._chance(0.15) else []
        return [*before, *wishes, *after]

    def _wish(self, kind: str) -> Described:
        """Return a marked line, with other things in the places of some."""
        line, found, at = self._line(kind), Described(self._language), 0
        for mark in _MARKED.finditer(line):
            found.add(line[at : mark.start()], _SAID)
            role = role_of(mark[1])
            found.add(self._exchanged(role, mark[2]), FOLLOW_UP_ROLES.index(role))
            at = mark.end()
        found.add(line[at:], _SAID)
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


def role_of(code: str) -> str:
    """Return the role that a mark's code stands for."""
    return _CODES.get(code, code)


def _marks(line: str) -> list[tuple[str, str]]:
    return [(role_of(mark[1]), mark[2]) for mark in _MARKED.finditer(line)]
