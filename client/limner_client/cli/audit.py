"""`limner audit`: the audit log of all tenants."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from limner_client.cli.admin import opened_database
from limner_client.cli.shown_text import shown
from limner_shared.db.accounts import audit as audit_log


@click.command()
@click.option("--tenant", help="Only entries of the tenant with this name.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=50, show_default=True, help="The number of entries.")
def audit(tenant: str | None, limit: int) -> None:
    """Show who changed which key or tenant, the newest entries first."""
    table = Table("time (UTC)", "tenant", "actor", "action", "subject", "detail", box=None)
    with opened_database() as database, database.read() as session:
        for entry, name in audit_log.newest_entries(session, limit, tenant):
            time = datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S")
            detail = shown(json.dumps(entry.detail, ensure_ascii=False))
            table.add_row(time, shown(name), entry.actor, entry.action, entry.subject, detail)
    Console().print(table)
