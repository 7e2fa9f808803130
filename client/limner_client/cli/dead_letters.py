"""The commands that go back to earlier work: `dead`, `replay`, `pause`, `resume`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Column, Table

from limner_client.cli.jobs import make_client, server_options, short
from limner_shared.domain.jobs import JobState
from limner_shared.domain.replay import differences
from limner_shared.errors import GenerationFailed, InvalidRequest


@click.command()
@click.argument("ids", nargs=-1)
@click.option("--retry", is_flag=True, help="Do the named ones again, as new jobs.")
@click.option("--retry-all", is_flag=True, help="Do all of them again.")
@server_options
def dead(*, ids: tuple[str, ...], retry: bool, retry_all: bool, server: str | None, key: str | None) -> None:
    """List the dead letters: jobs that were given up because every worker that tried them was lost."""
    if retry_all and ids:
        raise InvalidRequest("Name the jobs to do again, or say --retry-all, not both.")
    if bool(ids) != retry:
        raise InvalidRequest("Name the jobs to do again after --retry.")
    with make_client(server, key) as client:
        if retry or retry_all:
            made = client.retry_dead(list(ids) or None)
            click.echo("\n".join(made) if made else "There is nothing to do again.")
            return
        table = Table(Column("job", no_wrap=True), "prompt", "attempts", "why", box=None)
        for job in client.jobs(dead=True, limit=100).items:
            table.add_row(job.id, short(job.prompt), str(job.attempts), job.error.message if job.error else "")
        Console().print(table)


@click.command()
@click.argument("job_id")
@server_options
def replay(*, job_id: str, server: str | None, key: str | None) -> None:
    """Make the pictures of JOB_ID again, and say whether the bytes are the same, or else what differs."""
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
        raise GenerationFailed(f"{again.id} has not the bytes of {job_id}.")


@click.command()
@click.argument("bulk_id")
@server_options
def pause(*, bulk_id: str, server: str | None, key: str | None) -> None:
    """Start no more jobs of the bulk with BULK_ID until it is resumed."""
    with make_client(server, key) as client:
        click.echo(f"{bulk_id} {client.pause_bulk(bulk_id).status}")


@click.command()
@click.argument("bulk_id")
@server_options
def resume(*, bulk_id: str, server: str | None, key: str | None) -> None:
    """Go on with the paused bulk with BULK_ID."""
    with make_client(server, key) as client:
        click.echo(f"{bulk_id} {client.resume_bulk(bulk_id).status}")
