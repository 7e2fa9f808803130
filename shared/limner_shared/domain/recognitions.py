"""What the evaluator says of a finished picture. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

MOST_NAMES: Final = 3
"""The most names that a picture is said to look like, and the most prompts that are offered."""


class Recognition(BaseModel):
    """Whether the evaluator recognises what a picture should show. Names and prompts are in the prompt's language."""

    model_config = ConfigDict(frozen=True)

    recognised: bool = Field(description="Whether it recognises each thing that the picture should show.")
    unclear: tuple[str, ...] = Field(default=(), description="The words for the things that it does not recognise.")
    looks_like: tuple[str, ...] = Field(default=(), description="Names that the picture resembles more, best first.")
    nearer: tuple[str, ...] = Field(default=(), description="Prompts that the model may draw better, nearest first.")

    @classmethod
    def read(cls, recorded: object) -> Recognition | None:
        """Return the recognition that a receipt records; None if it records none, or one of another version."""
        try:
            return None if recorded is None else cls.model_validate(recorded)
        except ValidationError:
            return None

    def recorded(self) -> dict[str, Any]:
        """Return the recognition for a receipt, without default values."""
        return self.model_dump(mode="json", exclude_defaults=True)


def unclear_words(recognitions: Sequence[Recognition | None]) -> dict[str, int]:
    """Return the words for what is not recognised in some of a job's pictures, with the number of these pictures."""
    words = [word for recognition in recognitions if recognition is not None for word in recognition.unclear]
    return {word: words.count(word) for word in dict.fromkeys(words)}
