"""What is read of a request: the conditions that it names, and what remains of its text. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from limner_worker.stages.interpretation.language.schema import Language

MOST: Final = 1000
"""The most pictures that conditions may ask for."""
LeavesOut = Callable[[str, int], int]
"""How many characters of words of leaving out, whose thing begins at a place, do leave something out.

The others say what to draw.
"""


@dataclass(frozen=True)
class Model:
    """What a model offers: the names of its styles, and its sizes."""

    styles: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...]


@dataclass
class ParsedRequest:
    """The conditions found in a text, and the rest of the text."""

    text: str
    language: Language
    whole: str = ""
    """The text with what it leaves out."""
    negative: list[str] = field(default_factory=list[str])
    style: str | None = None
    size: tuple[int, int] | None = None
    n: int | None = None
    seed: int | None = None
    said: str = ""
    """The whole text."""
    sizes: tuple[tuple[int, int], ...] = ()
    """The sizes that the model offers."""
