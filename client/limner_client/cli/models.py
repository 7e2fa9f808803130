"""`limner models`."""

from __future__ import annotations

import click
from rich.console import Console
from rich.table import Table

from limner_client.cli.server_options import make_client, server_options
from limner_client.cli.shown_text import shown
from limner_shared.domain.model_views import ServingView


@click.command()
@server_options
def models(*, server: str | None, key: str | None) -> None:
    """List the server's models and their limits."""
    table = Table("model", "title", "sizes", "styles", "steps", "guidance", "n", "paused", "served", box=None)
    with make_client(server, key) as client:
        for model in client.models():
            limits = [_range(model.steps), _range(model.guidance), f"1 to {model.max_images}"]
            limits.append("" if model.paused is None else shown(model.paused.reason or "yes"))
            limits.append(shown(_served(model.serving)))
            table.add_row(
                *map(shown, (model.name, model.title, ", ".join(model.sizes), ", ".join(model.styles))), *limits
            )
    Console().print(table)


def _served(serving: ServingView | None) -> str:
    """How workers serve a model, in a few words; nothing while no worker says so."""
    if serving is None:
        return ""
    if serving.left_out is not None:
        return f"no worker could load it: {serving.left_out}"
    alone = f", image by image: {', '.join(serving.per_image)}" if serving.per_image else ""
    return f"{serving.workers} worker{'s' * (serving.workers != 1)}{alone}"


def _range(limits: dict[str, float]) -> str:
    return f"{limits['min']:g} to {limits['max']:g} ({limits['default']:g})"
