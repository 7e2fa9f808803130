"""The vectors by which pictures are compared: their size and form, which workers write and web servers read."""

from __future__ import annotations

from typing import Final, NamedTuple

DIMENSIONS: Final = 64
VECTOR_TYPE: Final = "<f2"
"""Float16, little-endian, as numpy names it."""
VECTOR_BYTES: Final = 2 * DIMENSIONS


class Embedding(NamedTuple):
    """A picture's vector of unit length, as VECTOR_BYTES bytes, and the name of what made it.

    Vectors are comparable only if the same encoder made them; its name changes with its weights.
    """

    encoder: str
    vector: bytes
