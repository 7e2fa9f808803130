"""A short message taken apart, and what an earlier prompt has of its words. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from limner_worker.stages.interpretation.refining.change import Change
from limner_worker.stages.interpretation.refining.lexemes import MARK, NEW, SHAPES, Lexeme

SAID: Final = frozenset({"frame", "opinions", "meant", "rather", "pick", MARK, "article", "within"})
"""Words that say nothing of their own."""
SIZES: Final = (*SHAPES, "sized")
_BESIDE: Final = 2
"""The most words between an article and what is new."""


@dataclass(frozen=True)
class Message:
    """A message taken apart."""

    text: str
    words: Sequence[Lexeme]
    change: Change
    styles: Sequence[str]

    def some(self, *kinds: str) -> list[Lexeme]:
        """Return the words that have one of some roles."""
        return [each for each in self.words if each.has(*kinds)]

    def only(self, *kinds: str) -> bool:
        """Return whether all words have one of these roles, or say nothing of their own, or how it is drawn."""
        said = (*SAID, *kinds, *self.styles, *SIZES)
        return all(each.has(*said) for each in self.words)

    def takes_and_adds(self) -> bool:
        """Return whether one thing is taken away and another is added beside it: "no lamp, and add a cup"."""
        adding = any(not each.has("rather", "contrast", "frame") for each in self.some("added"))
        instead = any(not each.has("away") for each in self.some("contrast", "meant"))
        return adding and bool(self.some("away")) and not instead

    def runs(self, *kinds: str) -> list[tuple[int, int]]:
        """Return where content stands, of words that have one of some roles; what the prompt has as one is one."""
        found: list[tuple[int, int]] = []
        last: Lexeme | None = None
        for each in self.words:
            if each.has(NEW, *kinds):
                joined = bool(found) and (last is not None or self.named(found[-1][0], each.end))
                start = found.pop()[0] if joined else each.start
                found.append((start, each.end))
            last = each if each.has(NEW, *kinds) else None
        return [run for run in found if any(NEW in each.kinds for each in self.words if run[0] <= each.start < run[1])]

    def named(self, start: int, end: int) -> bool:
        """Return whether the prompt has these words."""
        return self.name(start, end) is not None

    def name(self, start: int, end: int) -> str | None:
        """Return these words if the prompt has them, or them without an ending of the plural or the genitive."""
        words = self.text[start:end]
        ends = ("",) if self.change.language.unspaced else ("", "s", "es", "n", "en", "e")
        some = (words.removesuffix(each) for each in ends if words.endswith(each))
        return next((each for each in some if self.change.find(each) is not None), None)

    def with_article(self, start: int) -> int:
        """Return where a thing begins with its article, if one stands before it.

        In scripts without spaces, small words directly before it may be parts of its name.
        """
        before = [each for each in self.words if each.end <= start]
        if self.change.language.unspaced:
            return before[-1].start if before and before[-1].end == start and before[-1].has("within") else start
        for each in reversed(before[-_BESIDE - 1 :]):
            if each.has("article"):
                return each.start
            if not each.has("frame", "colour", "opinions") or each.has(MARK):
                break
        return start
