"""Puts a text of several lines into one, with marks between lines that are things of a list. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from limner_worker.stages.interpretation.language.texts import Pattern

_FEW_LINES: Final = 8
"""The most lines of a text whose short lines are a list; a longer one may be verse, or broken by a program."""
_SHORT_LINE: Final = 40
"""The most characters of a line that is not broken for its length."""
_FEW_WORDS: Final = 4


def in_one_line(text: str, without: Sequence[Pattern]) -> str:
    """Return a text in which a mark precedes the lines that leave something out: their capitals are of no title.

    So it does where few short lines follow each other, which are a list and not a sentence. `without` are the patterns
    of leaving out.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    parts, few = [lines[0]], len(lines) <= _FEW_LINES
    for before, line in pairwise(lines):
        listed = few and len(before) <= _SHORT_LINE and len(line.split()) <= _FEW_WORDS and before[-1].isalnum()
        apart = listed or any(each.match(line) for each in without)
        parts.append(f"{', ' if apart else ' '}{line}")
    return "".join(parts)
