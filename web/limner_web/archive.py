"""A bulk's pictures as a ZIP that is written while it is sent: nothing of it is ever on this server's disk."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from limner_shared.blobs import Blobs
from limner_shared.errors import NotFound
from limner_shared.tables import Image, Job

SUFFIXES = {"image/png": "png", "image/webp": "webp", "image/jpeg": "jpg"}


class _Outlet(io.RawIOBase):
    """Where the archive is written to: whatever is in it is taken away and sent. Not seekable, as a socket."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]  # zipfile writes bytes alone
        self._parts.append(bytes(data))
        return len(data)

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def zipped(
    blobs: Blobs, jobs: Callable[[], Iterable[tuple[Job, list[Image]]]], describe: Callable[[Job, list[Image]], str]
) -> Iterator[bytes]:
    """`0000012.png` (`0000012-2.png` for the second of a line), and at last `results.jsonl` with every job.

    Pictures are compressed already and are stored as they are; one that retention has deleted is left out. `jobs` is
    called twice, so that nothing need be kept in memory.
    """
    outlet = _Outlet()
    with zipfile.ZipFile(outlet, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]
        for job, images in jobs():
            for image in images:
                number = f"-{image.image_index + 1}" if len(images) > 1 else ""
                with suppress(NotFound):
                    data = blobs.get(image.sha256)
                    archive.writestr(f"{job.bulk_line or 0:07d}{number}.{SUFFIXES[image.media_type]}", data)
                yield outlet.take()
        results = zipfile.ZipInfo("results.jsonl")
        results.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(results, "w", force_zip64=True) as entry:
            for job, images in jobs():
                entry.write(describe(job, images).encode())
                yield outlet.take()
    yield outlet.take()
