"""The ZIP file of a bulk's results: readable by standard tools, and written in constant memory."""

from __future__ import annotations

import io
import tracemalloc
import zipfile
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from limner_shared.errors import NotFound
from limner_web.api.archive import zipped

ABOUT = b'{"id": "bulk_1"}'


def jobs(count: int, images: int = 1) -> Iterator[Any]:
    for line in range(1, count + 1):
        job = SimpleNamespace(bulk_line=line)
        made = [SimpleNamespace(image_index=n, sha256=f"{line}-{n}", media_type="image/png") for n in range(images)]
        yield SimpleNamespace(job=job, images=made)


def lines(count: int, images: int = 1) -> Iterator[tuple[Any, str]]:
    for shown in jobs(count, images):
        yield shown, f'{{"line": {shown.job.bulk_line}}}\n'


@pytest.mark.parametrize("count", [0, 1, 70_000])
def test_every_entry_can_be_read(count: int):
    def fetch(digest: str) -> bytes:
        return f"picture {digest}".encode()

    parts = b"".join(zipped(fetch, ABOUT, lines(count)))
    with zipfile.ZipFile(io.BytesIO(parts)) as archive:
        assert archive.testzip() is None
        assert len(archive.namelist()) == count + 2
        assert archive.read("bulk.json") == ABOUT
        assert archive.read("results.jsonl").decode() == "".join(line for _, line in lines(count))
        if count:
            assert archive.read(f"{count:07d}.png").decode() == f"picture {count}-0"


def test_a_picture_whose_bytes_are_gone_is_named_in_the_archive():
    def fetch(digest: str) -> bytes:
        if digest == "2-1":
            raise NotFound
        return digest.encode()

    with zipfile.ZipFile(io.BytesIO(b"".join(zipped(fetch, ABOUT, lines(2, 2))))) as archive:
        names = ["bulk.json", "0000001-1.png", "0000001-2.png", "0000002-1.png", "missing.txt", "results.jsonl"]
        assert archive.namelist() == names
        assert archive.read("missing.txt") == b"0000002-2.png\n"


def test_an_archive_begins_before_the_first_job_is_read():
    def unread() -> Iterator[Any]:
        raise AssertionError("a job was read")
        yield

    assert ABOUT in next(zipped(lambda _digest: b"x", ABOUT, unread()))


@pytest.mark.long
def test_memory_does_not_grow_with_the_number_of_entries():
    peaks: list[int] = []
    for entries in (20_000, 50_000):
        tracemalloc.start()
        try:
            for _ in zipped(lambda _digest: b"x", ABOUT, lines(entries)):
                pass
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] < peaks[0] + 1_500_000
