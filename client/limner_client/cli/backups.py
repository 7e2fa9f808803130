"""`limner backup`, `restore`, `check` and `blobs`: the whole installation's data."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from limner_client.cli.admin import explained
from limner_client.operations.backup import back_up
from limner_client.operations.blob_copy import copy_store
from limner_client.operations.consistency import Check
from limner_client.operations.restore import restore as restore_backup
from limner_shared.settings import Settings

FOLDER: Final = click.Path(path_type=Path, file_okay=False)


def _tell(message: str) -> None:
    click.echo(message, err=True)


@click.command()
@click.argument("folder", type=FOLDER)
@click.option("--json", "as_json", is_flag=True, help="Print the backup's manifest as JSON.")
def backup(folder: Path, as_json: bool) -> None:
    """Write a backup of the database and the pictures to FOLDER, while the service runs.

    FOLDER must not exist, or be empty, or hold an unfinished backup, which is continued. The backup holds prompts and
    secrets: keep it as safe as the database. PostgreSQL needs pg_dump on the PATH. Exit code 1 if a picture is missing,
    damaged or unreadable; pictures that were deleted while the backup was made are only reported.
    """
    with explained():
        manifest = back_up(Settings(), folder, _tell)
    lost = [each for each in manifest.lost if each.reason != "deleted"]
    if as_json:
        click.echo(manifest.model_dump_json(indent=1))
    else:
        click.echo(f"{folder}: {manifest.object_count} objects, {manifest.object_bytes} bytes, {len(lost)} lost.")
    sys.exit(1 if lost else 0)


@click.command()
@click.argument("folder", type=FOLDER)
def restore(folder: Path) -> None:
    """Restore the backup in FOLDER into the configured database and picture store, which must be empty.

    With the embedded database that is an empty LIMNER_DATA_DIR; PostgreSQL needs pg_restore on the PATH. An older
    schema is upgraded. After an interruption the same command continues.
    """
    with explained():
        manifest = restore_backup(Settings(), folder, _tell)
    if manifest.lost:
        click.echo(f"{len(manifest.lost)} objects were missing when the backup was made; `limner check` lists them.")
    click.echo("The backup is restored. `limner check` compares the database with the pictures.")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def check(as_json: bool) -> None:
    """Compare the database with the picture store: every row has its object, and every object its row; the bytes match.

    Changes nothing. Exit code 1 if a row's object is missing, damaged or unreadable. Objects without a row are only
    reported: the dispatcher deletes them. Reads every picture once.
    """
    with explained():
        report = Check(Settings(), _tell).run()
    if as_json:
        click.echo(report.model_dump_json(indent=1))
    else:
        objects = ", ".join(f"{count} {kind}" for kind, count in report.objects.items())
        problems = ", ".join(f"{count} {problem}" for problem, count in report.problems.items())
        click.echo(f"objects: {objects}; {problems}; {report.young} are young and have no row yet")
    sys.exit(0 if report.consistent else 1)


@click.group()
def blobs() -> None:
    """Copy picture stores."""


@blobs.command("copy")
@click.argument("source")
@click.argument("target")
@click.option("--verify", is_flag=True, help="Read everything back from TARGET and compare it.")
def blobs_copy(source: str, target: str, verify: bool) -> None:
    """Copy what TARGET lacks of SOURCE: URLs as in LIMNER_BLOB_URL, or absolute paths.

    Safe to repeat: copy while the service runs, stop it, copy again, set LIMNER_BLOB_URL and start it. Prints numbers
    as JSON. Exit code 1 if an object is damaged or cannot be read; such an object is not copied.
    """
    done = copy_store(source, target, _tell, verify=verify)
    click.echo(json.dumps(asdict(done)))
    sys.exit(1 if done.damaged or done.unreadable else 0)
