"""`limner bulk`: send a file of prompts, follow it, fetch its pictures. A small state file makes it resumable."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Final

import click
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from limner_shared.cli_jobs import make_client, server_options
from limner_shared.client import Client
from limner_shared.errors import GenerationFailed, InvalidRequest, NotFound
from limner_shared.jobs import JobState
from limner_shared.views import BulkView, ImageView, JobView

STATE_FILE: Final = ".limner-bulk.json"
POLL_SECONDS: Final = 1.0
DOWNLOADS: Final = 4
SUFFIXES: Final = {"image/png": ".png", "image/webp": ".webp", "image/jpeg": ".jpg"}


class BulkState(BaseModel):
    """Which bulk an output folder belongs to. Until the server has named it, only the key it was sent with is known."""

    server: str
    source_sha256: str
    key: str
    bulk_id: str = ""


@click.command()
@click.argument("prompts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
@server_options
def bulk(*, prompts: Path, output: Path, server: str | None, key: str | None) -> None:
    """Make the pictures of PROMPTS, a JSONL file with one job a line, and write them to the output folder.

    Ctrl-C stops only this command. The same command again goes on with the same bulk, and fetches what is missing.
    """
    with make_client(server, key) as client:
        state = open_bulk(client, prompts, output)
        try:
            view = follow_bulk(client, state, output)
        except KeyboardInterrupt:
            click.echo(f"\n{state.bulk_id} goes on at the server; the same command fetches the rest.", err=True)
            raise
    click.echo(f"{view.counts.get('succeeded', 0)} of {view.total} jobs succeeded; pictures are in {output}/")
    if view.counts.get("succeeded", 0) < view.total:
        raise GenerationFailed(f"Some jobs failed or were canceled; {output / 'results.jsonl'} says why.")


def open_bulk(client: Client, prompts: Path, output: Path) -> BulkState:
    """The bulk of this folder: the one begun earlier, or a new one. Raises InvalidRequest if it is another file's."""
    file = output / STATE_FILE
    with prompts.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    state = _read(file) or BulkState(server=client.server, source_sha256=digest, key=secrets.token_hex(16))
    if state.source_sha256 != digest or state.server != client.server:
        raise InvalidRequest(
            f"{output}/ holds the pictures of another file or server ({state.bulk_id} at {state.server}): "
            "choose another folder, or go on with the file as it was."
        )
    if not state.bulk_id:
        # The key first: if this process dies before it hears the answer, the next one sends the same key.
        write_whole(file, state.model_dump_json().encode())
        state = state.model_copy(update={"bulk_id": client.submit_bulk(prompts, state.key).id})
        write_whole(file, state.model_dump_json().encode())
    return state


def _read(file: Path) -> BulkState | None:
    try:
        return BulkState.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InvalidRequest(f"{file} cannot be read: remove it to submit the bulk anew.") from error


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that it is there complete or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(file.name + ".part")
    part.write_bytes(data)
    part.replace(file)


def follow_bulk(client: Client, state: BulkState, output: Path) -> BulkView:
    """Show how far the bulk is and fetch pictures as they are done, until all are there."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    fetched, have = 0, set[Path]()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(state.bulk_id, total=None)
        while True:
            view = _look(client, state, output)
            progress.update(task, completed=view.ended, total=view.total or None)
            done = view.status in ("done", "canceled") and view.ended >= view.total
            # The results name every job so far, so they are read at each tenth and not at each picture.
            if done or view.ended - fetched >= max(DOWNLOADS * 2, view.total // 10):
                fetched = view.ended
                _fetch(client, state, output, have, final=done)
            if done:
                return view
            time.sleep(POLL_SECONDS)


def _look(client: Client, state: BulkState, output: Path) -> BulkView:
    try:
        return client.bulk(state.bulk_id)
    except NotFound as error:
        raise NotFound(
            f"{client.server} no longer knows {state.bulk_id}: remove {output / STATE_FILE} to submit it anew."
        ) from error


def _fetch(client: Client, state: BulkState, output: Path, have: set[Path], *, final: bool) -> None:
    """Download what is missing or damaged, and add it to `have`; at the end, keep the results too."""
    results = output / "results.jsonl.part"
    with results.open("w", encoding="utf-8") as out, ThreadPoolExecutor(DOWNLOADS) as pool:
        pending = [
            pool.submit(_ensure, client, image, file)
            for job in _tee(client.bulk_results(state.bulk_id), out)
            for image, file in _files(job, output)
            if file not in have
        ]
        try:
            for download in pending:
                have.add(download.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if final:
        results.replace(output / "results.jsonl")
    else:
        results.unlink()


def _tee(jobs: Iterator[JobView], out: IO[str]) -> Iterator[JobView]:
    for job in jobs:
        out.write(job.model_dump_json(exclude_none=True) + "\n")
        yield job


def _files(job: JobView, output: Path) -> Iterator[tuple[ImageView, Path]]:
    if job.status is JobState.SUCCEEDED:
        for index, image in enumerate(job.images, start=1):
            stem = f"{job.line or 0:06d}" + (f"-{index}" if len(job.images) > 1 else "")
            yield image, output / (stem + SUFFIXES.get(image.media_type, ".png"))


def _ensure(client: Client, image: ImageView, file: Path) -> Path:
    whole = file.is_file() and hashlib.sha256(file.read_bytes()).hexdigest() == image.sha256
    if not whole:
        write_whole(file, client.download(image))
    return file
