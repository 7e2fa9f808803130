"""Finds C2PA manifests in picture files, without reading what they say: their place is that of each format."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Final, NamedTuple

PNG: Final = b"\x89PNG\r\n\x1a\n"
JPEG: Final = b"\xff\xd8"
APP11: Final = 0xEB
SCAN: Final = 0xDA
MAX_PARTS: Final = 2000
"""Parts of a file that are looked at; a manifest stands before the pixels, or in a WebP after them."""


class Found(NamedTuple):
    """A manifest in a file."""

    media_type: str
    size: int
    """Bytes in the file, with the manifests of what the picture was made from."""


def manifest_in(data: bytes) -> Found | None:
    """The manifest of a PNG, JPEG or WebP; None if it has none, or is damaged before it."""
    if data.startswith(PNG):
        found = Found("image/png", sum(size for kind, size in islice(_png_chunks(data), MAX_PARTS) if kind == b"caBX"))
    elif data.startswith(JPEG):
        found = Found("image/jpeg", sum(size for kind, size in islice(_segments(data), MAX_PARTS) if kind == APP11))
    elif data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        found = Found("image/webp", sum(size for kind, size in islice(_riff(data), MAX_PARTS) if kind == b"C2PA"))
    else:
        return None
    return found if found.size else None


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Type and length of each chunk before the pixels."""
    place = len(PNG)
    while place + 8 <= len(data) and (kind := data[place + 4 : place + 8]) != b"IDAT":
        length = int.from_bytes(data[place : place + 4], "big")
        yield kind, length
        place += length + 12


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Type and length of each segment of a JPEG before the pixels."""
    place = len(JPEG)
    while place + 4 <= len(data) and data[place] == 0xFF and (kind := data[place + 1]) != SCAN:  # noqa: PLR2004 - a marker
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        yield kind, length
        place += length + 2


def _riff(data: bytes) -> Iterator[tuple[bytes, int]]:
    """Type and length of each chunk of a WebP."""
    place = 12
    while place + 8 <= len(data):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        yield data[place : place + 4], length
        place += 8 + length + length % 2
