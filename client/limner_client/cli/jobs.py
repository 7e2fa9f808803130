"""`limner generate`, `jobs` and `cancel`."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from limner_client.cli.retrying import retry_while_unavailable
from limner_client.cli.server_options import make_client, server_options
from limner_client.cli.shown_text import harmless, short, shown
from limner_client.client import Client
from limner_shared.domain.jobs import JobState
from limner_shared.domain.recognitions import nearer_prompts, unclear_words
from limner_shared.domain.search_words import JobOrigin
from limner_shared.domain.views import ImageView, JobView, PauseNotice
from limner_shared.errors import GenerationFailed, InvalidRequest

MARKS: Final = {
    JobState.QUEUED: "[yellow]queued[/]",
    JobState.RUNNING: "[cyan]running[/]",
    JobState.SUCCEEDED: "[green]succeeded[/]",
    JobState.FAILED: "[red]failed[/]",
    JobState.CANCELED: "[dim]canceled[/]",
}
PICTURE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """Parse `256x256` as (width, height). Raises InvalidRequest."""
    if text is None:
        return None, None
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise InvalidRequest(f"--size: {text!r} is not WIDTHxHEIGHT, such as 256x256.")
    return int(width), int(height)


def data_url(file: Path | None) -> str | None:
    """Return an image file as a data URL. Raises InvalidRequest if its name has no image suffix."""
    if file is None:
        return None
    kind = mimetypes.guess_type(file.name)[0]
    if kind not in ("image/png", "image/jpeg", "image/webp"):
        raise InvalidRequest(f"{file} does not have the suffix of a PNG, JPEG or WebP file.")
    return f"data:{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"


@click.command()
@click.argument("prompt")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), default=Path("picture.png"))
@click.option("--style", help="One of the model's styles.")
@click.option("--size", help="WIDTHxHEIGHT, one of the model's sizes.")
@click.option("--steps", type=int, help="Denoising steps: more are slower and often better.")
@click.option("--quality", type=click.Choice(["standard", "best"]), help="best: draw candidates and keep the best.")
@click.option("--guidance", type=float, help="Guidance scale: how closely the image follows the prompt.")
@click.option("--seed", type=int, help="Random seed: the same seed gives the same image.")
@click.option("--n", type=int, help="Number of images. Default: 1.")
@click.option("--negative", help="Negative prompt: what the image should not show.")
@click.option("--model", help="A name from `limner models`.")
@click.option("--scheduler", help="One of the model's schedulers.")
@click.option("--image", type=PICTURE, help="Input image to start from.")
@click.option("--mask", type=PICTURE, help="Mask of the input image: white where it may change.")
@click.option("--mask-padding", "padding_mask_crop", type=int, help="Draw only the mask and this much around it.")
@click.option("--control", type=PICTURE, help="Control picture to follow, such as edges or depth.")
@click.option("--control-scale", type=float, help="How strictly the control picture is followed.")
@click.option("--control-start", type=float, help="Follow it from this part of the steps on, 0 to 1.")
@click.option("--control-end", type=float, help="Follow it up to this part of the steps, 0 to 1.")
@click.option("--reference", type=PICTURE, multiple=True, help="Reference picture to take from; may be repeated.")
@click.option("--reference-scale", type=float, help="How much is taken from the reference pictures.")
@click.option("--strength", type=float, help="How much the input image changes, above 0 and at most 1; default 0.8.")
@click.option("--not-before", metavar="TIME", help="Start at this time or later, such as 2026-12-24T18:00:00Z.")
@click.option("--max-retries", type=int, help="Retries after an error that may pass. Default: the model's.")
@click.option("--unique", help="A key: wait for the earlier job that has it, if that has not ended.")
@click.option("--reproducible", is_flag=True, default=None, help="Generate the same bytes at any load.")
@click.option("--describe", is_flag=True, help="Take style, number and size from PROMPT, a free description.")
@server_options
def generate(
    *,
    prompt: str,
    describe: bool,
    output: Path,
    size: str | None,
    negative: str | None,
    image: Path | None,
    mask: Path | None,
    control: Path | None,
    reference: tuple[Path, ...],
    server: str | None,
    key: str | None,
    unique: str | None,
    **wanted: Any,
) -> None:
    """Generate an image from PROMPT and write it to the output file."""
    width, height = parse_size(size)
    text = "description" if describe else "prompt"
    request = {text: prompt, "negative_prompt": negative, "width": width, "height": height, **wanted}
    request |= {"image": data_url(image), "mask": data_url(mask), "control_image": data_url(control)}
    request["reference_images"] = [data_url(each) for each in reference] or None
    request["unique"] = None if unique is None else {"key": unique}
    with make_client(server, key) as client:
        submitted = client.submit(request)
        if submitted.existing:
            click.echo(f"The job {submitted.id} has this key already.", err=True)
        job = follow(client, submitted)
        for file, made in zip(output_files(output, len(job.images)), job.images, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(client.download(made))
            click.echo(f"{file}  {_about(made)}")
        for sentence in [job.presentation] if job.presentation else _cautions(job):
            click.echo(harmless(sentence))


def output_files(output: Path, count: int) -> list[Path]:
    """Return the output file, or `count` numbered files next to it."""
    if count == 1:
        return [output]
    return [output.with_stem(f"{output.stem}-{number}") for number in range(1, count + 1)]


def follow(client: Client, job: JobView) -> JobView:
    """Show a job's progress until it ends; Ctrl-C cancels it if this call has submitted it.

    Raises GenerationFailed unless it succeeds.
    """
    submitted_by_another = job.existing
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("queued", total=None)
            for view in _views(client, job):
                job = view
                done = (view.progress.done, view.progress.total) if view.progress else (0, None)
                text = f"queued, {view.position} ahead" if view.position else view.status
                if view.paused is not None:
                    text = f"queued, {_who(view.paused)} paused"
                if view.not_before is not None:
                    text = f"queued until {view.not_before.astimezone():%Y-%m-%d %H:%M:%S}"
                progress.update(task, description=text, completed=done[0], total=done[1])
    except KeyboardInterrupt:
        if submitted_by_another:
            click.echo(f"{job.id} goes on: another call submitted it.", err=True)
        else:
            client.cancel(job.id)
            click.echo(f"Canceled {job.id}.", err=True)
        raise
    if job.status is not JobState.SUCCEEDED:
        reason = f"{job.error.message} ({job.error.code})" if job.error else "it was canceled"
        raise GenerationFailed(f"{job.id} {job.status}: {reason}")
    return job


def _views(client: Client, job: JobView) -> Iterator[JobView]:
    """Yield the job about each second until it has ended, also after outages of the server."""
    job = retry_while_unavailable(lambda: client.job(job.id))
    yield job
    while not job.status.terminal:
        job = retry_while_unavailable(partial(client.job, job.id, 1))
        yield job


@click.command()
@click.argument("job_id", required=False)
@click.option("--status", type=click.Choice([state.value for state in JobState]), help="List only jobs in this state.")
@click.option("--search", "q", metavar="WORDS", help="List only jobs whose prompt or metadata has all these words.")
@click.option("--model", help="List only jobs of this model.")
@click.option("--style", help="List only jobs in this style.")
@click.option("--bulk", metavar="ID", help="List only jobs of this bulk.")
@click.option("--conversation", metavar="ID", help="List only jobs of this conversation.")
@click.option("--origin", type=click.Choice([each.value for each in JobOrigin]), help="List only jobs asked for so.")
@click.option("--tag", help="List only jobs with this tag, or with an image that has it.")
@click.option("--favourite", is_flag=True, default=None, help="List only favourites, and jobs with a favourite image.")
@click.option("--after", "created_after", metavar="TIME", help="List only jobs since then: 2026-12-24T18:00:00Z.")
@click.option("--before", "created_before", metavar="TIME", help="List only jobs before this time.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True)
@server_options
def jobs(
    *, job_id: str | None, status: str | None, limit: int, server: str | None, key: str | None, **filters: Any
) -> None:
    """List your newest jobs, or show the one with JOB_ID."""
    console = Console()
    with make_client(server, key) as client:
        if job_id is not None:
            _show(console, client.job(job_id))
            return
        table = Table(
            Column("job", no_wrap=True), Column("status", no_wrap=True), "prompt", "style", "steps", "seed", box=None
        )
        for job in _first(client, limit, status=status, **filters):
            table.add_row(job.id, _state(job), short(job.prompt), shown(_styles(job)), str(job.steps), str(job.seed))
        console.print(table)


def _first(client: Client, limit: int, **filters: Any) -> list[JobView]:
    """The first jobs of a list; a page of it may have fewer than asked for."""
    found: list[JobView] = []
    cursor = None
    while len(found) < limit:
        page = client.jobs(limit=limit - len(found), cursor=cursor, **filters)
        found += page.items
        cursor = page.next
        if cursor is None:
            break
    return found


def _show(console: Console, job: JobView) -> None:
    table = Table(show_header=False, box=None)
    for name, value in job.model_dump(
        exclude={"images", "error", "last_error", "paused", "progress", "status"}, exclude_none=True
    ).items():
        table.add_row(name, shown(str(value)))
    table.add_row("status", _state(job))
    if job.error is not None:
        table.add_row("error", shown(f"{job.error.message} ({job.error.code})"))
    if job.paused is not None:
        until = "" if job.paused.until is None else f" until {job.paused.until.astimezone():%Y-%m-%d %H:%M}"
        table.add_row("waits", f"{_who(job.paused)} paused{until}: {shown(job.paused.reason or 'no reason given')}")
    if job.last_error is not None:
        table.add_row("last error", shown(f"{job.last_error.message} ({job.last_error.code})"))
    for image in job.images:
        table.add_row("image", shown(f"{image.url}  {_about(image)}"))
    console.print(table)


def _who(pause: PauseNotice) -> str:
    return "your queue is" if pause.own else f"the {pause.what} is"


def _about(image: ImageView) -> str:
    """The size, the seed and the style of a picture, on a line."""
    style = f"  {image.style}" if image.style else ""
    return f"{image.width}x{image.height}  seed {image.seed}{style}"


def _cautions(job: JobView) -> list[str]:
    """What may be hard to recognise in the pictures of a plain prompt, and what may work better."""
    seen = [image.recognition for image in job.images]
    told = [
        f"“{word}” may be hard to recognise{f' in {count} of {len(seen)} pictures' if count < len(seen) else ''}."
        for word, count in unclear_words(seen).items()
    ]
    return [*told, *(f"“{prompt}” may work better." for prompt in nearer_prompts(seen)[:1])]


def _styles(job: JobView) -> str:
    """The style asked for, else those of the pictures."""
    return job.style or ", ".join(dict.fromkeys(image.style for image in job.images if image.style))


def _state(job: JobView) -> str:
    mark = MARKS[job.status]
    return f"{mark} {job.progress.done}/{job.progress.total}" if job.progress else mark


@click.command()
@click.argument("ids", nargs=-1, required=True)
@server_options
def cancel(*, ids: tuple[str, ...], server: str | None, key: str | None) -> None:
    """Cancel the jobs and bulks with the given ids."""
    with make_client(server, key) as client:
        for one in ids:
            view = client.cancel_bulk(one) if one.startswith("bulk_") else client.cancel(one)
            click.echo(f"{one} {view.status}")
