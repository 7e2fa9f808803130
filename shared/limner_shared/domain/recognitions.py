"""What the evaluator says of a finished picture. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pydantic import Field

from limner_shared.domain.receipt_values import ReceiptValue

MOST_NAMES: Final = 3
"""The most names that a picture is said to look like, and the most prompts that are offered."""


class Recognition(ReceiptValue):
    """Whether the evaluator recognises what a picture should show. Names and prompts are in the prompt's language."""

    recognised: bool = Field(description="Whether it recognises each thing that the picture should show.")
    unclear: tuple[str, ...] = Field(default=(), description="The words for the things that it does not recognise.")
    looks_like: tuple[str, ...] = Field(default=(), description="Names that the picture resembles more, best first.")
    nearer: tuple[str, ...] = Field(default=(), description="Prompts that the model may draw better, nearest first.")


def unclear_words(recognitions: Sequence[Recognition | None]) -> dict[str, int]:
    """Return the words for what is not recognised in some of a job's pictures, with the number of these pictures."""
    words = [word for recognition in recognitions if recognition is not None for word in recognition.unclear]
    return {word: words.count(word) for word in dict.fromkeys(words)}


def nearer_prompts(recognitions: Sequence[Recognition | None]) -> Sequence[str]:
    """Return the prompts that may work better, of the first picture for which there are any."""
    return next((each.nearer for each in recognitions if each is not None and each.nearer), ())
