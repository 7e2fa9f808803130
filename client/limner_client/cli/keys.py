"""`limner keys`: create, list, rotate and revoke API keys directly in the database."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from limner_client.cli.admin import opened_database
from limner_client.cli.key_options import OVERLAP, SCOPES
from limner_client.cli.parameter_types import ExpiryType
from limner_client.cli.shown_text import shown
from limner_shared.db.accounts import keys as api_keys
from limner_shared.domain.access import Expiry
from limner_shared.settings import Settings

EXPIRES: Final = click.option(
    "--expires", "expiry", type=ExpiryType(), help="When the key expires: 90d, 12h, or a date such as 2027-01-31 (UTC)."
)


@click.group()
def keys() -> None:
    """Create, list, rotate and revoke the API keys of tenants."""


@keys.command("create")
@click.argument("tenant")
@click.option("--label", default="", help="Purpose of the key.")
@SCOPES
@EXPIRES
def keys_create(tenant: str, label: str, scopes: tuple[str, ...], expiry: Expiry | None) -> None:
    """Create a key for TENANT, and the tenant if it does not exist. The key is shown only once."""
    with opened_database() as database, database.write() as session:
        secret = api_keys.create(session, tenant, label, scopes=scopes, expiry=expiry, cell=Settings().cell)
    click.echo(secret)


@keys.command("list")
def keys_list() -> None:
    """List all keys without their secrets."""
    table = Table("key", "tenant", "label", "scopes", "created", "expires", "last used", "revoked", box=None)
    with opened_database() as database, database.read() as session:
        for key, tenant in api_keys.list_keys(session):
            times = (key.created_at, key.expires_at, key.last_used_at, key.revoked_at)
            table.add_row(key.id, shown(tenant), shown(key.label), key.scopes, *map(_date, times))
    Console().print(table)


@keys.command("rotate")
@click.argument("key_id")
@OVERLAP
@EXPIRES
def keys_rotate(key_id: str, overlap_seconds: int, expiry: Expiry | None) -> None:
    """Replace the key KEY_ID by a new one with the same label and scopes, which is shown only once.

    Without --expires, the new key expires when the old one would have.
    """
    with opened_database() as database, database.write() as session:
        rotation = api_keys.rotate(
            session, key_id, overlap_seconds=overlap_seconds, expiry=expiry, cell=Settings().cell
        )
    click.echo(rotation.new.key)
    click.echo(f"{key_id} expires at {_date(rotation.old_expires_at)} UTC.", err=True)


@keys.command("revoke")
@click.argument("key_id")
def keys_revoke(key_id: str) -> None:
    """Revoke the key KEY_ID, immediately and permanently."""
    with opened_database() as database, database.write() as session:
        api_keys.revoke(session, key_id)
    click.echo(f"{key_id} is revoked.")


def _date(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
