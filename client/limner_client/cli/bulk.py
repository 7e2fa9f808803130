"""`limner bulk`: send a file of prompts, follow it, fetch its pictures. A small state file makes it resumable."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, Final, TypeVar

import click
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from limner_client.cli.jobs import make_client, server_options
from limner_client.client import Client
from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import BulkView, ImageView, JobView
from limner_shared.errors import (
    BadBulk,
    BulkLoading,
    GenerationFailed,
    InvalidRequest,
    NotFound,
    Overloaded,
    ServiceUnavailable,
    StorageFailed,
)

STATE_FILE: Final = ".limner-bulk.json"
POLL_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 600.0
"""For so long a server that has answered before may be away."""
LONGEST_PAUSE_SECONDS: Final = 10.0
SHOWN_LINES: Final = 10
DOWNLOADS: Final = 4
SUFFIXES: Final = {"image/png": ".png", "image/webp": ".webp", "image/jpeg": ".jpg"}

T = TypeVar("T")


class ResumeFile(BaseModel):
    """Which bulk an output folder belongs to. Until the server has named it, only the key it was sent with is known."""

    server: str
    source_sha256: str
    key: str
    bulk_id: str = ""


@click.command()
@click.argument("prompts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--on-error",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="What a line that cannot be accepted does: refuse the whole file, or be skipped.",
)
@server_options
def bulk(*, prompts: Path, output: Path, on_error: str, server: str | None, key: str | None) -> None:
    """Make the pictures of PROMPTS, a JSONL file with one job a line, and write them to the output folder.

    A server that is restarted is waited for. Ctrl-C stops only this command; the same command again goes on with the
    same bulk, and fetches what is missing.
    """
    with make_client(server, key) as client:
        client.models()  # a server that never answered is not waited for
        try:
            state = open_bulk(client, prompts, output, skip_bad=on_error == "skip")
        except BadBulk as error:
            raise InvalidRequest("\n".join([error.message, *_reasons(error.details)])) from error
        try:
            view = follow_bulk(client, state, output)
        except KeyboardInterrupt:
            click.echo(f"\n{state.bulk_id} goes on at the server; the same command fetches the rest.", err=True)
            raise
    if view.skipped is not None:
        report = output / "skipped.jsonl"
        write_whole(report, "".join(f"{line.model_dump_json()}\n" for line in view.skipped.errors).encode())
        click.echo(f"{view.skipped.count} lines were skipped; {report} says why (at most the first 100).", err=True)
    click.echo(f"{view.counts.get('succeeded', 0)} of {view.total} jobs succeeded; pictures are in {output}/")
    if view.counts.get("succeeded", 0) < view.total:
        raise GenerationFailed(f"Some jobs failed or were canceled; {output / 'results.jsonl'} says why.")


def _reasons(details: dict[str, Any]) -> list[str]:
    """The first bad lines, and how many more there are."""
    shown = [f"  line {error['line']}: {error['message']}" for error in details.get("errors", [])[:SHOWN_LINES]]
    more = details.get("bad_lines", len(shown)) - len(shown)
    return shown + ([f"  … and {more} more"] if more > 0 else []) + ["--on-error skip accepts the others."]


def patiently(call: Callable[[], T]) -> T:
    """What `call` returns; while the server is away or busy, it is called again, less and less often.

    Raises its error once the server was away for PATIENCE_SECONDS.
    """
    deadline, pause = time.monotonic() + PATIENCE_SECONDS, 0.5
    while True:
        try:
            return call()
        except (ServiceUnavailable, Overloaded, BulkLoading, StorageFailed) as error:
            if time.monotonic() > deadline:
                raise
            click.echo(f"{error.message} Trying again in {pause:g} s.", err=True)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def open_bulk(client: Client, prompts: Path, output: Path, *, skip_bad: bool = False) -> ResumeFile:
    """The bulk of this folder: the one begun earlier, or a new one. Raises InvalidRequest if it is another file's."""
    file = output / STATE_FILE
    with prompts.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    state = _read(file) or ResumeFile(server=client.server, source_sha256=digest, key=secrets.token_hex(16))
    if state.source_sha256 != digest or state.server != client.server:
        raise InvalidRequest(
            f"{output}/ holds the pictures of another file or server ({state.bulk_id} at {state.server}): "
            "choose another folder, or go on with the file as it was."
        )
    if not state.bulk_id:
        # The key first: if this process dies before it hears the answer, the next one sends the same key.
        write_whole(file, state.model_dump_json().encode())
        view = patiently(lambda: client.submit_bulk(prompts, state.key, skip_bad=skip_bad))
        state = state.model_copy(update={"bulk_id": view.id})
        write_whole(file, state.model_dump_json().encode())
    return state


def _read(file: Path) -> ResumeFile | None:
    try:
        return ResumeFile.model_validate_json(file.read_bytes())
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


def follow_bulk(client: Client, state: ResumeFile, output: Path) -> BulkView:
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
                patiently(lambda final=done: _fetch(client, state, output, have, final=final))
            if done:
                return view
            time.sleep(POLL_SECONDS)


def _look(client: Client, state: ResumeFile, output: Path) -> BulkView:
    try:
        return patiently(lambda: client.bulk(state.bulk_id))
    except NotFound as error:
        raise NotFound(
            f"{client.server} no longer knows {state.bulk_id}: remove {output / STATE_FILE} to submit it anew."
        ) from error


def _fetch(client: Client, state: ResumeFile, output: Path, have: set[Path], *, final: bool) -> None:
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
