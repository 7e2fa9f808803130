"""The API's response about the names that a model knows."""

from __future__ import annotations

from pydantic import BaseModel


class KnownNames(BaseModel):
    """The names of the things that a model was trained to draw, in one language."""

    items: list[str]
