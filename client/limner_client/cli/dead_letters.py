"""`limner dead-letters` and `limner replay`: run jobs again that ended earlier."""

from __future__ import annotations

from typing import Final

import click
from rich.console import Console
from rich.table import Column, Table

from limner_client.cli.server_options import make_client, server_options
from limner_client.cli.shown_text import short, shown
from limner_shared.domain.jobs import JobState
from limner_shared.domain.replay import differences
from limner_shared.errors import GenerationFailed, InvalidRequest

SHOWN: Final = 100
"""Dead letters in a list; the API allows no more on one page."""


@click.group("dead-letters")
def dead_letters() -> None:
    """List or retry dead letters: jobs that failed because every worker that ran them was lost."""


@dead_letters.command("list")
@server_options
def dead_letters_list(*, server: str | None, key: str | None) -> None:
    """List the newest dead letters with the reason of each."""
    table = Table(Column("job", no_wrap=True), "prompt", "attempts", "why", box=None)
    with make_client(server, key) as client:
        for job in client.jobs(dead=True, limit=SHOWN).items:
            table.add_row(job.id, short(job.prompt), str(job.attempts), shown(job.error.message) if job.error else "")
    Console().print(table)


@dead_letters.command("retry")
@click.argument("ids", metavar="[JOB_ID]...", nargs=-1)
@click.option("--all", "every", is_flag=True, help="Retry all dead letters.")
@server_options
def dead_letters_retry(*, ids: tuple[str, ...], every: bool, server: str | None, key: str | None) -> None:
    """Retry the named dead letters, each as a new job, and print the ids of the new jobs."""
    if every == bool(ids):
        raise InvalidRequest("Name the jobs to retry, or use --all.")
    with make_client(server, key) as client:
        retried = client.retry_dead(list(ids) or None)
        click.echo("\n".join(retried) if retried else "There are no dead letters to retry.")
        while every and retried:  # one request retries the oldest thousand at most
            retried = client.retry_dead(None)
            for job_id in retried:
                click.echo(job_id)


@click.command()
@click.argument("job_id")
@server_options
def replay(*, job_id: str, server: str | None, key: str | None) -> None:
    """Generate the images of JOB_ID again as a new job, and compare the bytes.

    If they differ, print what differs between the receipts, and exit with code 1.
    """
    with make_client(server, key) as client:
        again = client.replay(job_id)
        *_, ended = client.wait(again.id)
        if ended.status != JobState.SUCCEEDED:
            raise GenerationFailed(f"{again.id} {ended.status}: {ended.error.message if ended.error else 'no reason'}")
        then, now = client.receipts(job_id), client.receipts(again.id)
    pairs = [(old, differences(old, new)) for old, new in zip(then, now, strict=True)]
    for old, different in pairs:
        click.echo(f"{old.image} " + ("\n  ".join(different) if different else f"the same bytes, sha256 {old.sha256}"))
    if any(different for _, different in pairs):
        raise GenerationFailed(f"The images of {again.id} differ from those of {job_id}.")
