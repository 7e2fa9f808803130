"""`limner support-bundle`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import click

from limner_client.cli.server_options import server_url
from limner_client.operations import support_bundle
from limner_shared.settings import Settings


@click.command("support-bundle")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write. Default: limner-support-DATE.zip here.",
)
@click.option(
    "--server", help="URL of the web server or its operator's port, for metrics. Default: as for `limner top`."
)
@click.option(
    "--log",
    "logs",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A log file to take too; may be repeated. Those of `limner up` are found.",
)
def support(output: Path | None, server: str | None, logs: tuple[Path, ...]) -> None:
    """Write a ZIP file for a support request: versions, settings, findings, queues, metrics and the ends of logs.

    Run it where the service runs, with its settings. It holds no prompts, pictures, keys, passwords or other secrets,
    and what cannot be read is listed in it. Look through it before you send it.
    """
    settings = Settings()
    file = output or Path(f"limner-support-{datetime.now(UTC):%Y%m%d-%H%M%S}.zip")
    url = server_url(server, settings).rstrip("/")
    missing = support_bundle.write(settings, file, url, [*support_bundle.log_files(settings), *logs])
    for name, reason in missing.items():
        click.echo(f"without {name}: {reason}", err=True)
    click.echo(f"Wrote {file}. Look through it before you send it.")
