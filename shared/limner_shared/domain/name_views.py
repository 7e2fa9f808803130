"""The API's responses about the names that a model knows."""

from __future__ import annotations

from pydantic import BaseModel, Field


class KnownNames(BaseModel):
    """The names of the things that a model was trained to draw, in one language."""

    items: list[str]


class SeenName(BaseModel):
    """A thing that a picture may show."""

    name: str
    likeness: float = Field(description="From -1 to 1. Drawings have about 0.6 with their own name.")


class PictureNames(BaseModel):
    """What a model's evaluator sees in a picture."""

    model: str = Field(description="The model whose evaluator looked at the picture.")
    prompt: str | None = Field(description="A prompt for such a picture; null if the evaluator does not recognise it.")
    names: list[SeenName] = Field(description="What it may show, the likeliest first; empty if nothing is near.")
