"""The commands that put a server's queue right: `dead`, `pause`, `resume`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Column, Table

from limner_shared.cli_jobs import make_client, server_options, short
from limner_shared.errors import InvalidRequest


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
