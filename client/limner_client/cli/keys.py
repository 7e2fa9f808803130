"""`limner keys`: create, list and revoke API keys directly in the database."""

from __future__ import annotations

from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from limner_client.cli.admin import opened_database
from limner_shared.db.accounts import keys as api_keys


@click.group()
def keys() -> None:
    """Create, list and revoke the API keys of tenants."""


@keys.command("create")
@click.argument("tenant")
@click.option("--label", default="", help="Purpose of the key.")
def keys_create(tenant: str, label: str) -> None:
    """Create a key for TENANT, and the tenant if it does not exist. The key is shown only once."""
    with opened_database() as database, database.write() as session:
        secret = api_keys.create(session, tenant, label)
    click.echo(secret)


@keys.command("list")
def keys_list() -> None:
    """List all keys without their secrets."""
    table = Table("key", "tenant", "label", "created", "revoked", box=None)
    with opened_database() as database, database.read() as session:
        for key, tenant in api_keys.list_keys(session):
            table.add_row(key.id, tenant, key.label, _date(key.created_at), _date(key.revoked_at))
    Console().print(table)


@keys.command("revoke")
@click.argument("key_id")
def keys_revoke(key_id: str) -> None:
    """Revoke the key KEY_ID, immediately and permanently."""
    with opened_database() as database, database.write() as session:
        api_keys.revoke(session, key_id)
    click.echo(f"{key_id} is revoked.")


def _date(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
