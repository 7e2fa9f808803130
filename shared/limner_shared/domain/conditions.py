"""The conditions of a picture, which a language model returns and a generator uses, and their origin. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

MAX_TEXT: Final = 20_000
MAX_DESCRIPTION: Final = 10_000


def _storable(value: object) -> object:
    """Replace NUL, the only character that PostgreSQL cannot store."""
    return value.replace("\x00", " ") if isinstance(value, str) else value


# STORABLE is last, so that it runs first and the constraints see a plain string.
STORABLE: Final = BeforeValidator(_storable)
Text = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TEXT), STORABLE]
Wanted = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_TEXT), STORABLE]
StyleName = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200), STORABLE]
Description = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_DESCRIPTION), STORABLE
]
Backend = Literal["server", "local", "rules", "none"]


class Conditions(BaseModel):
    """What to draw and how; unset fields are left to the request and the model card."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    prompt: Wanted = Field(
        description="What the picture shows: subject first, then how it looks. Without style names, sizes or numbers."
    )
    negative_prompt: Text = Field(default="", description="What must not be in it, separated by commas.")
    style: StyleName | None = Field(default=None, description="One of the model's styles, if one is asked for.")
    width: int | None = Field(default=None, ge=1, le=65536, description="In pixels, if a size is asked for.")
    height: int | None = Field(default=None, ge=1, le=65536)
    n: int | None = Field(default=None, ge=1, le=1000, description="How many pictures, if a number is asked for.")
    seed: int | None = Field(default=None, ge=0, le=2**32 - 1, description="Only if a seed is asked for by its number.")


class Beyond(BaseModel):
    """What a description asked for beyond a model's limits; a field is None where nothing was cut."""

    model_config = ConfigDict(frozen=True)

    n: int | None = None
    size: tuple[int, int] | None = None
    chars: int | None = None
    """The length of the prompt before it was cut."""


def exceeded_limits(
    conditions: Conditions, max_images: int, sizes: Sequence[tuple[int, int]], max_chars: int, given: Sequence[str]
) -> Beyond | None:
    """Return what conditions ask for beyond the limits, without fields that the client set; None if nothing."""
    n = conditions.n if "n" not in given and (conditions.n or 0) > max_images else None
    size = None
    if conditions.width is not None and conditions.height is not None and not {"width", "height"} & set(given):
        asked = conditions.width, conditions.height
        size = None if asked in sizes else asked
    chars = len(conditions.prompt) if len(conditions.prompt) > max_chars else None
    return Beyond(n=n, size=size, chars=chars) if n or size or chars else None


class Turn(BaseModel):
    """An earlier message of a conversation, and the conditions that it led to; None while they are unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    text: str
    conditions: Conditions | None = None


class Interpretation(BaseModel):
    """The result of interpreting a description, and how it was obtained."""

    conditions: Conditions
    backend: Backend = Field(
        description="A language model behind a server, rules, or the plain words; `local` in jobs of earlier versions."
    )
    model: str | None = Field(default=None, description="The language model, where one was asked.")
    fallback: str | None = Field(default=None, description="Why a better way was not taken.")
    seconds: float = 0.0


def cut(text: str, most: int) -> str:
    """Return the beginning of a text, of at most `most` characters; it ends with a word, if a space is near."""
    if len(text) <= most:
        return text
    space = max(text.rfind(each, 0, most + 1) for each in " \n")
    return text[: space if space > most // 2 else most]
