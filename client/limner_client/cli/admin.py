"""`limner db` and `limner doctor`, and access to the configured database for other commands."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

import click
from rich.console import Console
from rich.table import Table
from sqlalchemy.exc import SQLAlchemyError

from limner_client.cli.shown_text import shown
from limner_client.local.doctor import examine
from limner_client.local.findings import Check, State
from limner_client.operations import remote_doctor, vacuum
from limner_shared.db import schema
from limner_shared.db.engine import Database
from limner_shared.errors import ServiceUnavailable
from limner_shared.settings import Settings

MARKS: Final = {State.OK: "[green]ok[/]", State.WARN: "[yellow]warn[/]", State.FAIL: "[bold red]fail[/]"}


@contextmanager
def opened_database() -> Iterator[Database]:
    """Open the configured database. Raises ServiceUnavailable with advice if it cannot be used."""
    with explained():
        database = Database(Settings().session_database_url)
        try:
            yield database
        finally:
            database.dispose()


@contextmanager
def explained() -> Iterator[None]:
    """A context in which an error of the database becomes ServiceUnavailable with advice."""
    try:
        yield
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise ServiceUnavailable(
            f"The database cannot be used: {reason}. Check LIMNER_DATABASE_URL, and run `limner db upgrade`."
        ) from error


@click.group()
def db() -> None:
    """Create, upgrade, downgrade or look at the database in LIMNER_DATABASE_URL."""


@db.command("upgrade")
@click.argument("revision", default="head")
def db_upgrade(revision: str) -> None:
    """Upgrade the schema to REVISION, by default the newest. Creates the schema of an empty database."""
    with explained():
        schema.upgrade(Settings().session_database_url, revision, lambda message: click.echo(message, err=True))
    click.echo(f"The schema is at {revision}.")


@db.command("downgrade")
@click.argument("revision")
@click.confirmation_option(prompt="Downgrading deletes data that the older schema cannot hold. Continue?")
def db_downgrade(revision: str) -> None:
    """Downgrade the schema to REVISION (`base` is the empty database)."""
    with explained():
        schema.downgrade(Settings().session_database_url, revision)
    click.echo(f"The schema is at {revision}.")


@db.command("current")
def db_current() -> None:
    """Check whether this version supports the schema; exit code 1 if it does not."""
    with opened_database() as database:
        found = schema.standing(database, Settings().session_database_url)
    click.echo({"current": "The schema is current.", "older": schema.OLDER, "newer": schema.NEWER}[found])
    sys.exit(0 if found == "current" else 1)


@db.command("vacuum-report")
def db_vacuum_report() -> None:
    """Report dead rows, free space and what keeps them, with advice; exit code 1 if something is wrong.

    Reads statistics only: sizes are estimates, and PostgreSQL's counts may be some seconds old.
    """
    with opened_database() as database:
        failures = show(vacuum.report(database))
    sys.exit(1 if failures else 0)


@click.command()
@click.option("--server", help="URL of a web server or its operator's port: look at that service instead.")
@click.option("--key", help="An admin key of the tenant local, for --server. Default: LIMNER_API_KEY.")
def doctor(server: str | None, key: str | None) -> None:
    """Check the installation and the configuration, with advice for each problem; exit code 1 if a check fails.

    With --server, check a service that runs elsewhere: its stores, dispatchers, workers, queues and pauses.
    """
    settings = Settings()
    if server is None:
        failures = show(examine(settings))
        good = "Limner can run here."
    else:
        with remote_doctor.connect(server) as http:
            failures = show(remote_doctor.examine(http, key or settings.api_key, settings.metrics_key))
        good = "No check failed."
    click.echo(f"{failures} {'check' if failures == 1 else 'checks'} failed." if failures else good)
    sys.exit(1 if failures else 0)


def show(checks: Iterable[Check]) -> int:
    """Print findings as a table. Returns how many failed."""
    table = Table(box=None, show_header=False, pad_edge=False)
    failures = 0
    for check in checks:
        failures += check.state is State.FAIL
        advice = f"\n[bold]→ {shown(check.advice)}[/]" if check.advice else ""
        table.add_row(MARKS[check.state], shown(check.name), shown(check.found) + advice)
    Console().print(table)
    return failures
