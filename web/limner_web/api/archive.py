"""Writes a bulk's images as a ZIP archive while it is sent, in constant memory.

The format is PKWARE's APPNOTE 6.3.3 with ZIP64. Python's `zipfile` keeps about 500 bytes in memory for each entry until
the end; here the central directory, which is the last part of a ZIP, is collected in a temporary file, and so are, in
compressed form, the files that are complete only after the last image.
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Final

from limner_shared.db.queries import Shown
from limner_shared.errors import NotFound, ObjectUnreadable

SUFFIXES: Final = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg"}
STORED, DEFLATED = 0, 8
VERSION: Final = 45
"""4.5, the first version with ZIP64."""
DATE: Final = (0, 0x21)
"""1980-01-01 00:00, so that equal results give equal archives."""
MAX_32: Final = 0xFFFFFFFF
MAX_16: Final = 0xFFFF
BLOCK: Final = 64 << 10
IN_MEMORY: Final = 1 << 20
"""The bytes of a temporary file that are kept in memory."""


class _Packed:
    """The contents of an entry, compressed into a temporary file as they come."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self.crc = self.size = 0

    def add(self, part: bytes) -> None:
        """Add a part of the contents."""
        self.crc, self.size = zlib.crc32(part, self.crc), self.size + len(part)
        self._file.write(self._packer.compress(part))

    def complete(self) -> int:
        """End the contents; returns their compressed size."""
        self._file.write(self._packer.flush())
        return self._file.tell()

    def blocks(self) -> Iterator[bytes]:
        """Yield the compressed contents."""
        yield from _blocks(self._file)


class _Writer:
    """Writes entries and collects the central directory in a file. `_offset` counts the bytes written so far."""

    def __init__(self, directory: IO[bytes]) -> None:
        self._directory = directory
        self._entries = 0
        self._offset = 0

    def stored(self, name: str, data: bytes) -> bytes:
        """Return a whole entry, not compressed because images already are."""
        return self._begin(name, STORED, zlib.crc32(data), len(data), len(data)) + data

    def deflated(self, name: str, contents: _Packed) -> Iterator[bytes]:
        """Yield an entry whose contents are compressed already."""
        packed = contents.complete()
        yield self._begin(name, DEFLATED, contents.crc, packed, contents.size)
        yield from contents.blocks()

    def end(self) -> Iterator[bytes]:
        """Yield the central directory and its end records."""
        size = self._directory.tell()
        yield from _blocks(self._directory)
        start, count = self._offset, self._entries
        end64 = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, VERSION, VERSION, 0, 0, count, count, size, start)
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)
        count16, size32, start32 = min(count, MAX_16), min(size, MAX_32), min(start, MAX_32)
        yield end64 + locator + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count16, count16, size32, start32, 0)

    def _begin(self, name: str, method: int, crc: int, packed: int, size: int) -> bytes:
        """Return the header of an entry, which is added to the directory."""
        local = struct.pack("<HHQQ", 1, 16, size, packed)
        fields = (VERSION, 0, method, *DATE, crc, MAX_32, MAX_32, len(name), len(local))
        header = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", *fields) + name.encode("ascii") + local
        extra = struct.pack("<HHQQQ", 1, 24, size, packed, self._offset)
        fields = (VERSION, VERSION, 0, method, *DATE, crc, MAX_32, MAX_32, len(name), len(extra), 0, 0, 0, 0)
        central = struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", *fields, MAX_32)
        self._directory.write(central + name.encode("ascii") + extra)
        self._entries += 1
        self._offset += len(header) + packed
        return header


def _temporary() -> IO[bytes]:
    return tempfile.SpooledTemporaryFile(max_size=IN_MEMORY)


def _blocks(file: IO[bytes]) -> Iterator[bytes]:
    file.seek(0)
    while block := file.read(BLOCK):
        yield block


def zipped(fetch: Callable[[str], bytes], about: bytes, jobs: Iterable[tuple[Shown, str]]) -> Iterator[bytes]:
    """Yield the archive: `bulk.json` with what is known `about` the bulk, which is sent at once; images named by line,
    such as `0000012.png` (`0000012-2.png` for a line's second image); and finally `results.jsonl` with the line of
    every job, in the state in which its images were written.

    `fetch` returns an image's bytes by digest. Images for which it raises NotFound, because they were lost or deleted
    meanwhile, or ObjectUnreadable, are named in `missing.txt`. `jobs` yields each job and its line.
    """
    with _temporary() as directory, _temporary() as of_results, _temporary() as of_missing:
        writer, results, missing = _Writer(directory), _Packed(of_results), _Packed(of_missing)
        yield writer.stored("bulk.json", about)
        for shown, line in jobs:
            results.add(line.encode())
            for image in shown.images:
                number = f"-{image.image_index + 1}" if len(shown.images) > 1 else ""
                name = f"{shown.job.bulk_line or 0:07d}{number}.{SUFFIXES[image.media_type]}"
                try:
                    data = fetch(image.sha256)
                except (NotFound, ObjectUnreadable):
                    missing.add(f"{name}\n".encode())
                else:
                    yield writer.stored(name, data)
        if missing.size:
            yield from writer.deflated("missing.txt", missing)
        yield from writer.deflated("results.jsonl", results)
        yield from writer.end()
