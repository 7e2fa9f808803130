"""`limner own-keys`: make, list, rotate and revoke the keys of one's own tenant, over the API."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Column, Table

from limner_client.cli.key_options import OVERLAP, SCOPES
from limner_client.cli.parameter_types import ExpiryType
from limner_client.cli.server_options import make_client, server_options
from limner_client.cli.shown_text import shown
from limner_shared.domain.access import DEFAULT_SCOPES, Expiry, Scope


@click.group("own-keys")
def own_keys() -> None:
    """Make, list, rotate and revoke your own tenant's API keys. All but rotate needs a key with the scope admin."""


@own_keys.command("create")
@click.argument("label")
@SCOPES
@click.option(
    "--expires", "expiry", type=ExpiryType(), help="When it expires: 90d, 12h, or a date (UTC). Not after your own key."
)
@server_options
def own_keys_create(
    *, label: str, scopes: tuple[str, ...], expiry: Expiry | None, server: str | None, key: str | None
) -> None:
    """Make a key, named LABEL in lists, and print it. It is shown only once."""
    end = None
    if expiry is not None:
        seconds = time.time() + expiry.seconds if expiry.is_relative else expiry.seconds
        end = datetime.fromtimestamp(seconds, UTC)
    with make_client(server, key) as client:
        made = client.keys.create(label, [Scope(scope) for scope in scopes] or DEFAULT_SCOPES, end)
    click.echo(made.key)


@own_keys.command("list")
@server_options
def own_keys_list(*, server: str | None, key: str | None) -> None:
    """List your tenant's keys without their secrets."""
    table = Table(
        Column("key", no_wrap=True), "label", "scopes", "created", "expires", "last used", "revoked", box=None
    )
    with make_client(server, key) as client:
        for each in client.keys.list():
            times = (each.created_at, each.expires_at, each.last_used_at, each.revoked_at)
            table.add_row(each.id, shown(each.label), " ".join(each.scopes), *map(_date, times))
    Console().print(table)


@own_keys.command("rotate")
@OVERLAP
@server_options
def own_keys_rotate(*, overlap_seconds: int, server: str | None, key: str | None) -> None:
    """Replace the key of this call by a new one with the same rights, and print it. It is shown only once."""
    with make_client(server, key) as client:
        made = client.keys.rotate(overlap_seconds)
    click.echo(made.key)
    click.echo(f"{made.replaces} expires at {_date(made.old_expires_at)} UTC.", err=True)


@own_keys.command("revoke")
@click.argument("key_id")
@server_options
def own_keys_revoke(*, key_id: str, server: str | None, key: str | None) -> None:
    """Revoke the key KEY_ID, immediately and permanently."""
    with make_client(server, key) as client:
        client.keys.revoke(key_id)
    click.echo(f"{key_id} is revoked.")


def _date(moment: datetime | None) -> str:
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
