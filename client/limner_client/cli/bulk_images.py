"""Downloads the images of a bulk into a folder: those that are missing or damaged there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

from limner_client.client import Client
from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import ImageView, JobView
from limner_shared.errors import NotFound, ObjectUnreadable

DOWNLOADS: Final = 4
"""Concurrent downloads."""
SUFFIXES: Final = {"image/png": ".png", "image/webp": ".webp", "image/jpeg": ".jpg"}


def download_images(client: Client, bulk_id: str, output: Path, complete: set[Path], *, final: bool) -> list[str]:
    """Download missing and damaged images and add their files to `complete`; if `final`, keep the results file too.

    Returns the ids of the images that the server no longer has or cannot read.
    """
    results = output / "results.jsonl.part"
    lost: list[str] = []
    with results.open("w", encoding="utf-8") as out, ThreadPoolExecutor(DOWNLOADS) as pool:
        pending = [
            (image.id, pool.submit(_download_if_missing, client, image, file))
            for job in _tee(client.bulk_results(bulk_id), out)
            for image, file in _files(job, output)
            if file not in complete
        ]
        try:
            for image_id, download in pending:
                try:
                    complete.add(download.result())
                except (NotFound, ObjectUnreadable):  # deleted meanwhile, or lost: the others are wanted all the same
                    lost.append(image_id)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if final:
        results.replace(output / "results.jsonl")
    else:
        results.unlink()
    return lost


def _tee(jobs: Iterator[JobView], out: IO[str]) -> Iterator[JobView]:
    for job in jobs:
        out.write(job.model_dump_json(exclude_none=True) + "\n")
        yield job


def _files(job: JobView, output: Path) -> Iterator[tuple[ImageView, Path]]:
    if job.status is JobState.SUCCEEDED:
        for index, image in enumerate(job.images, start=1):
            stem = f"{job.line or 0:06d}" + (f"-{index}" if len(job.images) > 1 else "")
            yield image, output / (stem + SUFFIXES.get(image.media_type, ".png"))


def _download_if_missing(client: Client, image: ImageView, file: Path) -> Path:
    is_intact = file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == image.sha256
    if not is_intact:
        write_atomically(file, client.download(image))
    return file


def write_atomically(file: Path, data: bytes) -> None:
    """Write a file atomically: readers see either the complete file or none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_bytes(data)
    part.replace(file)
