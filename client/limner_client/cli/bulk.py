"""`limner bulk`: submit a file of prompts, follow its progress and download its images; list, pause or resume bulks.

A state file in the output folder makes the submission resumable.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from pydantic import BaseModel, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Column, Table

from limner_client.cli.bulk_images import DOWNLOADS, download_images, write_atomically
from limner_client.cli.renamed import warn_renamed
from limner_client.cli.retrying import retry_while_unavailable
from limner_client.cli.server_options import make_client, server_options
from limner_client.client import Client
from limner_shared.domain.jobs import JobState
from limner_shared.domain.views import BulkView
from limner_shared.errors import (
    BadBulk,
    GenerationFailed,
    InvalidRequest,
    NotFound,
)

STATE_FILE: Final = ".limner-bulk.json"
POLL_SECONDS: Final = 1.0
SHOWN_LINES: Final = 10


class ResumeFile(BaseModel):
    """The resumable state file of an output folder: which bulk, from which file and server, the images belong to.

    `key` is the idempotency key of the submission; `bulk_id` is empty until the server has answered it.
    """

    server: str
    source_sha256: str
    key: str
    bulk_id: str = ""


class BulkGroup(click.Group):
    """The group, which also accepts its former syntax `limner bulk FILE`, with a warning."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Insert `submit` where the command line begins with a file or an option of `submit`."""
        first = args[0] if args else ""
        is_option = first.startswith("-") and first not in ctx.help_option_names
        if is_option or (first not in self.commands and Path(first).is_file()):
            warn_renamed("bulk FILE", "bulk submit FILE")
            args = ["submit", *args]
        return super().parse_args(ctx, args)


@click.group(cls=BulkGroup)
def bulk() -> None:
    """Submit, list, pause or resume bulks: many jobs from one file. `limner cancel` cancels one."""


@bulk.command("submit")
@click.argument("prompts", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option(
    "--on-error",
    type=click.Choice(["refuse", "skip"]),
    default="refuse",
    show_default=True,
    help="How to handle invalid lines: refuse the whole file, or skip them.",
)
@server_options
def bulk_submit(*, prompts: Path, output: Path, on_error: str, server: str | None, key: str | None) -> None:
    """Generate the images of PROMPTS, a JSON Lines file with one job per line, into the output folder.

    The command waits while the server restarts. Ctrl-C stops only this command: run it again to continue with the
    same bulk and to download the missing images.
    """
    with make_client(server, key) as client:
        client.models()  # fail at once if the server does not answer; only later outages are waited for
        try:
            state = open_bulk(client, prompts, output, skip_bad=on_error == "skip")
        except BadBulk as error:
            raise InvalidRequest("\n".join([error.message, *_reasons(error.details)])) from error
        try:
            view, lost = follow_bulk(client, state, output)
        except KeyboardInterrupt:
            click.echo(
                f"\n{state.bulk_id} continues on the server; run the same command again to download the rest.", err=True
            )
            raise
    _report(view, output, lost)


@bulk.command("list")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many, newest first.")
@server_options
def bulk_list(*, limit: int, server: str | None, key: str | None) -> None:
    """List the newest bulks with their ended jobs."""
    table = Table(Column("bulk", no_wrap=True), "status", "ended", "failed", Column("created", no_wrap=True), box=None)
    with make_client(server, key) as client:
        for each in client.bulks(limit=limit).items:
            ended, failed = f"{each.ended:,} of {each.total:,}", f"{each.counts.get(JobState.FAILED, 0):,}"
            table.add_row(each.id, each.status, ended, failed, f"{each.created_at:%Y-%m-%d %H:%M} UTC")
    Console().print(table)


@bulk.command("pause")
@click.argument("bulk_id")
@server_options
def bulk_pause(*, bulk_id: str, server: str | None, key: str | None) -> None:
    """Pause the bulk BULK_ID: its queued jobs are not released until it is resumed."""
    with make_client(server, key) as client:
        click.echo(f"{bulk_id} {client.pause_bulk(bulk_id).status}")


@bulk.command("resume")
@click.argument("bulk_id")
@server_options
def bulk_resume(*, bulk_id: str, server: str | None, key: str | None) -> None:
    """Resume the paused bulk BULK_ID."""
    with make_client(server, key) as client:
        click.echo(f"{bulk_id} {client.resume_bulk(bulk_id).status}")


def _report(view: BulkView, output: Path, lost: Sequence[str]) -> None:
    """Print the counts and write the skipped lines.

    Raises GenerationFailed if not every job succeeded, NotFound if images are no longer stored.
    """
    if view.skipped is not None:
        report = output / "skipped.jsonl"
        write_atomically(report, "".join(f"{line.model_dump_json()}\n" for line in view.skipped.errors).encode())
        click.echo(f"{view.skipped.count} lines were skipped; see {report} (at most the first 100).", err=True)
    if view.duplicates is not None:
        click.echo(f"{view.duplicates.count} lines made no job: other jobs hold their unique keys.", err=True)
    succeeded = view.counts.get("succeeded", 0)
    click.echo(f"{succeeded} of {view.total} jobs succeeded; the images are in {output}/")
    if succeeded < view.total:
        raise GenerationFailed(f"Some jobs failed or were canceled; see {output / 'results.jsonl'}.")
    if lost:
        shown = ", ".join(lost[:SHOWN_LINES]) + (" …" if len(lost) > SHOWN_LINES else "")
        raise NotFound(f"{len(lost)} images are no longer stored or cannot be read: {shown}.")


def _reasons(details: dict[str, Any]) -> list[str]:
    """Return one line for each of the first invalid lines, and the number of the others."""
    shown = [f"  line {error['line']}: {error['message']}" for error in details.get("errors", [])[:SHOWN_LINES]]
    more = details.get("bad_lines", len(shown)) - len(shown)
    return shown + ([f"  … and {more} more"] if more > 0 else []) + ["Use --on-error skip to submit only valid lines."]


def open_bulk(client: Client, prompts: Path, output: Path, *, skip_bad: bool = False) -> ResumeFile:
    """Return the state of this folder's bulk, which is submitted unless an earlier run has done so.

    Raises InvalidRequest if the folder belongs to another file or server, BadBulk if the file has invalid lines.
    """
    file = output / STATE_FILE
    with prompts.open("rb") as source:
        digest = hashlib.file_digest(source, "sha256").hexdigest()
    state = _read(file) or ResumeFile(server=client.server, source_sha256=digest, key=secrets.token_hex(16))
    if state.source_sha256 != digest or state.server != client.server:
        raise InvalidRequest(
            f"{output}/ holds the images of another file or server ({state.bulk_id} at {state.server}): "
            "choose another folder, or continue with the unchanged file."
        )
    if not state.bulk_id:
        # Store the key first: if this process dies before it receives the answer, the next run sends the same key.
        write_atomically(file, state.model_dump_json().encode())
        try:
            view = retry_while_unavailable(lambda: client.submit_bulk(prompts, state.key, skip_bad=skip_bad))
        except (BadBulk, InvalidRequest):
            file.unlink()  # nothing was accepted: the corrected file is another one
            raise
        state = state.model_copy(update={"bulk_id": view.id})
        write_atomically(file, state.model_dump_json().encode())
    return state


def _read(file: Path) -> ResumeFile | None:
    try:
        return ResumeFile.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InvalidRequest(f"{file} cannot be read: remove it to submit a new bulk.") from error


def follow_bulk(client: Client, state: ResumeFile, output: Path) -> tuple[BulkView, list[str]]:
    """Show the progress of the bulk and download images as jobs end.

    Returns its final view, and the ids of the images that are no longer stored.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    fetched, complete, lost = 0, set[Path](), list[str]()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(state.bulk_id, total=None)
        while True:
            view = _poll(client, state, output)
            progress.update(task, completed=view.ended, total=view.total or None)
            done = view.status in ("done", "canceled") and view.ended >= view.total
            # The results list every job, so they are read after each tenth of the jobs, not after each job.
            if done or view.ended - fetched >= max(DOWNLOADS * 2, view.total // 10):
                fetched = view.ended
                lost = retry_while_unavailable(
                    lambda final=done: download_images(client, state.bulk_id, output, complete, final=final)
                )
            if done:
                return view, lost
            time.sleep(POLL_SECONDS)


def _poll(client: Client, state: ResumeFile, output: Path) -> BulkView:
    try:
        return retry_while_unavailable(lambda: client.bulk(state.bulk_id))
    except NotFound as error:
        raise NotFound(
            f"{client.server} does not know {state.bulk_id}: remove {output / STATE_FILE} to submit a new bulk."
        ) from error
