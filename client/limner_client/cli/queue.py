"""`limner queue`: pause and resume the queue of a model or of a tenant, directly in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click
from pydantic import TypeAdapter, ValidationError
from rich.console import Console
from rich.table import Table
from sqlalchemy.orm import Session

from limner_client.cli.admin import opened_database
from limner_client.cli.parameter_types import ExpiryType
from limner_client.cli.shown_text import shown
from limner_shared.db import pause_queries
from limner_shared.db.accounts import audit, pauses
from limner_shared.domain.access import Expiry
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.pauses import PauseKind, Reason
from limner_shared.errors import InvalidRequest
from limner_shared.settings import Settings

MODEL: Final = click.option("--model", help="The name of a model.")
TENANT: Final = click.option("--tenant", help="The name of a tenant.")


@click.group()
def queue() -> None:
    """Pause and resume models and tenants: jobs are accepted and wait."""


@queue.command("pause")
@MODEL
@TENANT
@click.option("--reason", help="Shown to the tenants whose jobs wait.")
@click.option("--until", type=ExpiryType(), help="When the pause ends: 12h, 3d, or a date or time (UTC).")
def queue_pause(model: str | None, tenant: str | None, reason: str | None, until: Expiry | None) -> None:
    """Pause a model or a tenant. Running jobs are finished; no other job of it starts until it is resumed.

    A repeated command changes the reason and the end of the pause.
    """
    with opened_database() as database, database.write() as session:
        kind, subject = _subject(session, model, tenant)
        row = pauses.pause(session, kind, subject, checked_reason(reason), until, actor=audit.OPERATOR)
        end = row.until
    click.echo(f"The {kind} {model or tenant} is paused{'' if end is None else f' until {_time(end)} UTC'}.")


@queue.command("resume")
@MODEL
@TENANT
def queue_resume(model: str | None, tenant: str | None) -> None:
    """Resume a model or a tenant: its jobs are released in their order."""
    with opened_database() as database, database.write() as session:
        # A model that is no longer served may still be paused.
        kind, subject = (PauseKind.MODEL, model) if model and not tenant else _subject(session, model, tenant)
        pauses.resume(session, pauses.find(session, kind, subject), actor=audit.OPERATOR)
    click.echo(f"The {kind} {model or tenant} is resumed.")


@queue.command("list")
def queue_list() -> None:
    """List what is paused."""
    table = Table("paused", "name", "since (UTC)", "until (UTC)", "by", "reason", box=None)
    with opened_database() as database, database.read() as session:
        rows = pause_queries.pauses(session)
        names = pauses.tenant_names(session, rows)
        for row in rows:
            times = _time(row.paused_at), "" if row.until is None else _time(row.until)
            name = names.get(row.subject, row.subject)
            table.add_row(row.kind, shown(name), *times, row.actor, shown(row.reason or ""))
    Console().print(table)


def _subject(session: Session, model: str | None, tenant: str | None) -> tuple[PauseKind, str]:
    """What the options name. Raises InvalidRequest or NotFound."""
    if bool(model) == bool(tenant):
        raise InvalidRequest("Give either --model or --tenant.")
    if tenant:
        return PauseKind.TENANT, pauses.tenant_named(session, tenant)
    settings = Settings()
    return PauseKind.MODEL, Catalogue.load(settings.models, settings.default_model).get(model).name


def checked_reason(reason: str | None) -> str | None:
    """Return a reason without surrounding space. Raises InvalidRequest."""
    try:
        return TypeAdapter[str | None](Reason | None).validate_python(reason)
    except ValidationError as error:
        raise InvalidRequest(f"--reason: {error.errors()[0]['msg']}", field="reason") from error


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
