"""`limner cells`: the front door of several installations, and which of them a tenant gets."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from limner_client.operations.cells import place, read_cells
from limner_client.operations.front_door import configuration

FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.group()
def cells() -> None:
    """Serve tenants from several independent installations behind one address."""


@cells.command("config")
@click.argument("file", type=FILE)
def cells_config(file: Path) -> None:
    """Print the configuration of HAProxy 2.6 or later for the cells in FILE."""
    click.echo(configuration(read_cells(file)), nl=False)


@cells.command("place")
@click.argument("file", type=FILE)
@click.argument("tenant")
def cells_place(file: Path, tenant: str) -> None:
    """Print the cells for TENANT, its first choice first: create its keys there."""
    for name in place(tenant, read_cells(file)):
        click.echo(name)
