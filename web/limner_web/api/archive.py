"""Writes a bulk's images as a ZIP archive while it is sent, in constant memory.

The format is PKWARE's APPNOTE 6.3.3 with ZIP64. Python's `zipfile` keeps about 500 bytes in memory for each entry until
the end; here the central directory, which is the last part of a ZIP, is collected in a temporary file.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from limner_shared.db.queries import Shown
from limner_shared.errors import NotFound

SUFFIXES: Final = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg"}
STORED, DEFLATED = 0, 8
VERSION: Final = 45
"""4.5, the first version with ZIP64."""
SIZES_FOLLOW: Final = 1 << 3
DATE: Final = (0, 0x21)
"""1980-01-01 00:00, so that equal results give equal archives."""
MAX_32: Final = 0xFFFFFFFF
MAX_16: Final = 0xFFFF
BLOCK: Final = 64 << 10


class _Writer:
    """Writes entries and collects the central directory. `_offset` counts the bytes written so far."""

    def __init__(self) -> None:
        self._directory = tempfile.SpooledTemporaryFile(max_size=1 << 20)  # noqa: SIM115 - closed in `end`
        self._entries = 0
        self._offset = 0

    def stored(self, name: str, data: bytes) -> bytes:
        """Return a whole entry, not compressed because images already are."""
        crc, size = zlib.crc32(data), len(data)
        header = _local_header(name, STORED, 0, crc, size)
        self._add_to_directory(name, STORED, 0, crc, size, size)
        self._offset += len(header) + size
        return header + data

    def deflated(self, name: str, parts: Iterable[bytes]) -> Iterator[bytes]:
        """Yield an entry that is compressed piece by piece; its sizes follow the data."""
        packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        header = _local_header(name, DEFLATED, SIZES_FOLLOW, 0, 0)
        crc = size = packed = 0
        yield header
        for part in parts:
            crc, size = zlib.crc32(part, crc), size + len(part)
            block = packer.compress(part)
            packed += len(block)
            yield block
        last = packer.flush()
        packed += len(last)
        sizes = struct.pack("<4sIQQ", b"PK\x07\x08", crc, packed, size)
        self._add_to_directory(name, DEFLATED, SIZES_FOLLOW, crc, packed, size)
        self._offset += len(header) + packed + len(sizes)
        yield last + sizes

    def end(self) -> Iterator[bytes]:
        """Yield the central directory and its end records."""
        with self._directory as directory:
            size = directory.tell()
            directory.seek(0)
            while block := directory.read(BLOCK):
                yield block
        start, count = self._offset, self._entries
        end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, VERSION, VERSION, 0, 0, count, count, size, start)
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)
        count16, size32, start32 = min(count, MAX_16), min(size, MAX_32), min(start, MAX_32)
        yield end64 + locator + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count16, count16, size32, start32, 0)

    def _add_to_directory(self, name: str, method: int, flags: int, crc: int, packed: int, size: int) -> None:
        extra = struct.pack("<HHQQQ", 1, 24, size, packed, self._offset)
        fields = (VERSION, VERSION, flags, method, *DATE, crc, MAX_32, MAX_32, len(name), len(extra), 0, 0, 0, 0)
        header = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", *fields, MAX_32)
        self._directory.write(header + name.encode("ascii") + extra)
        self._entries += 1


def _local_header(name: str, method: int, flags: int, crc: int, size: int) -> bytes:
    extra = struct.pack("<HHQQ", 1, 16, size, size)
    fields = (VERSION, flags, method, *DATE, crc, MAX_32, MAX_32, len(name), len(extra))
    return struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", *fields) + name.encode("ascii") + extra


def zipped(
    fetch: Callable[[str], bytes],
    jobs: Callable[[], Iterable[Shown]],
    describe: Callable[[Shown], str],
) -> Iterator[bytes]:
    """Yield the archive: images named by line, such as `0000012.png` (`0000012-2.png` for a line's second image), and
    finally `results.jsonl` with every job.

    `fetch` returns an image's bytes by digest. Images for which it raises NotFound, because they were lost or deleted
    meanwhile, are named in `missing.txt`. `describe` returns a job's line of `results.jsonl`. `jobs` is called twice,
    so that no job is kept in memory.
    """
    writer = _Writer()
    with tempfile.SpooledTemporaryFile(max_size=1 << 20) as missing:
        for shown in jobs():
            for image in shown.images:
                number = f"-{image.image_index + 1}" if len(shown.images) > 1 else ""
                name = f"{shown.job.bulk_line or 0:07d}{number}.{SUFFIXES[image.media_type]}"
                try:
                    data = fetch(image.sha256)
                except NotFound:
                    missing.write(f"{name}\n".encode())
                else:
                    yield writer.stored(name, data)
        if missing.tell():
            missing.seek(0)
            yield from writer.deflated("missing.txt", iter(lambda: missing.read(BLOCK), b""))
    yield from writer.deflated("results.jsonl", (describe(shown).encode() for shown in jobs()))
    yield from writer.end()
