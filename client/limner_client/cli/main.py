"""The root of the `limner` command: the table of commands, lazy loading, renamed commands and error messages.

A command's module is imported only when the command runs, so `limner --help` is quick and needs no extra.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final

import click
from pydantic import ValidationError

from limner_client.cli.renamed import RENAMED, by_new_name
from limner_shared.errors import ConfigurationError, InvalidRequest, LimnerError
from limner_shared.settings import Settings

GROUP: Final = "limner.commands"
"""The entry point group from which other packages add commands."""


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command: its line in the help, `module:attribute` of its click object, and the extra that it needs."""

    summary: str
    target: str
    extra: str | None = None


COMMANDS: Final[dict[str, Lazy]] = {
    "up": Lazy("Start the whole service on this machine and keep it running.", "limner_client.cli.run:up", "server"),
    "demo": Lazy("Start the service, generate forty images, stop it.", "limner_client.cli.run:demo", "server"),
    "generate": Lazy("Generate an image from a prompt.", "limner_client.cli.jobs:generate"),
    "bulk": Lazy("Submit a file of prompts; pause or resume a bulk.", "limner_client.cli.bulk:bulk"),
    "jobs": Lazy("List your jobs, or show one.", "limner_client.cli.jobs:jobs"),
    "explain": Lazy("Say why a job waits, and for how long.", "limner_client.cli.library:explain"),
    "cancel": Lazy("Cancel jobs and bulks.", "limner_client.cli.jobs:cancel"),
    "delete": Lazy("Delete jobs and images.", "limner_client.cli.library:delete"),
    "favourite": Lazy("Mark jobs and images as favourites.", "limner_client.cli.library:favourite"),
    "tag": Lazy("Tag jobs and images.", "limner_client.cli.library:tag"),
    "similar": Lazy("List images that look like one.", "limner_client.cli.library:similar"),
    "link": Lazy("Print a link to an image that works without a key.", "limner_client.cli.library:link"),
    "replay": Lazy("Generate a job's images again and compare the bytes.", "limner_client.cli.dead_letters:replay"),
    "own-queue": Lazy("Pause or resume your own queue, or cancel what waits.", "limner_client.cli.own_queue:own_queue"),
    "own-keys": Lazy("Make, list or revoke your tenant's API keys.", "limner_client.cli.own_keys:own_keys"),
    "dead-letters": Lazy("List dead letters, or retry them.", "limner_client.cli.dead_letters:dead_letters"),
    "models": Lazy("List the models and their limits.", "limner_client.cli.models:models"),
    "webhooks": Lazy("Manage webhook endpoints; show and repeat deliveries.", "limner_client.cli.webhooks:webhooks"),
    "mcp": Lazy("Offer the service's tools to agents (MCP).", "limner_client.cli.mcp:mcp", "mcp"),
    "keys": Lazy("Create, list, rotate and revoke API keys.", "limner_client.cli.keys:keys", "server"),
    "audit": Lazy("Show who changed which key or tenant.", "limner_client.cli.audit:audit", "server"),
    "tenants": Lazy("List tenants; set weights, limits and retention.", "limner_client.cli.tenants:tenants", "server"),
    "c2pa": Lazy("Make a certificate for signed provenance.", "limner_client.cli.c2pa:c2pa", "c2pa"),
    "queue": Lazy("Pause or resume a model or a tenant.", "limner_client.cli.queue:queue", "server"),
    "drain": Lazy("Let a worker take no new jobs.", "limner_client.cli.drain:drain", "server"),
    "db": Lazy("Create or upgrade the schema; report what vacuum has to do.", "limner_client.cli.admin:db", "server"),
    "backup": Lazy("Back up the database and the pictures.", "limner_client.cli.backups:backup", "service"),
    "restore": Lazy("Restore a backup into an empty installation.", "limner_client.cli.backups:restore", "service"),
    "check": Lazy("Compare the database with the picture store.", "limner_client.cli.backups:check", "service"),
    "blobs": Lazy("Copy the pictures to another store.", "limner_client.cli.backups:blobs", "service"),
    "cells": Lazy("Serve tenants from several installations.", "limner_client.cli.cells:cells"),
    "top": Lazy("Show queues, workers and rates, live.", "limner_client.cli.top:top", "service"),
    "doctor": Lazy("Check this installation and its configuration.", "limner_client.cli.admin:doctor", "server"),
    "support-bundle": Lazy(
        "Write a ZIP for support, without prompts and secrets.", "limner_client.cli.support:support", "server"
    ),
    "serve": Lazy("Run the web server: the HTTP API and the web page.", "limner_web.cli:serve", "web"),
    "dispatcher": Lazy(
        "Run the dispatcher: release queued jobs, requeue those of lost workers.",
        "limner_dispatcher.cli:dispatcher",
        "service",
    ),
    "worker": Lazy("Run a worker: generate images on this machine's device.", "limner_worker.cli:worker", "worker"),
    "fetch": Lazy("Download models from a hub before workers serve them.", "limner_worker.cli:fetch", "diffusers"),
    "compress": Lazy("Compress an image with the built-in autoencoder.", "limner_worker.codec.cli:compress", "worker"),
    "decompress": Lazy("Decompress such an image.", "limner_worker.codec.cli:decompress", "worker"),
    "evaluate": Lazy("Score a built-in model.", "limner_training.cli:evaluate", "train"),
    "train": Lazy("Train the built-in models.", "limner_training.cli:train", "train"),
}


class UsageError(click.ClickException):
    """An invalid argument or setting: the user must change it before trying again. Exit code 2."""

    exit_code = 2


class LazyGroup(click.Group):
    """A group that imports a command only to run it, and shows every expected error as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our commands in the order of the table, then those of other packages."""
        return [*COMMANDS, *sorted(entry_points(group=GROUP).names - COMMANDS.keys() - RENAMED.keys())]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; a renamed one is found by its old name too, with a warning."""
        return super().resolve_command(ctx, by_new_name(args))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. Raises ClickException if its extra is not installed."""
        if cmd_name not in self.list_commands(ctx):
            return None
        try:
            found = _load(cmd_name)
        except ModuleNotFoundError as error:
            raise _missing(cmd_name, error) from error
        if not isinstance(found, click.Command):
            raise click.ClickException(f"The entry point {cmd_name!r} of {GROUP} is not a click command.")
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the summaries of the table: click would import every command to ask for its own."""
        rows = [(name, COMMANDS[name].summary if name in COMMANDS else "") for name in self.list_commands(ctx)]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; an error that the user can correct becomes one line without a traceback."""
        try:
            return super().invoke(ctx)
        except LimnerError as error:
            raise _failure(error) from error
        except ValidationError as error:
            if error.title != Settings.__name__:
                raise
            raise _failure(_bad_settings(error)) from error
        except ModuleNotFoundError as error:
            raise _missing(ctx.invoked_subcommand or "", error) from error


def _load(name: str) -> object:
    if name in COMMANDS:
        module, _, attribute = COMMANDS[name].target.partition(":")
        return getattr(importlib.import_module(module), attribute)
    [entry] = entry_points(group=GROUP, name=name)
    return entry.load()


def _missing(name: str, error: ModuleNotFoundError) -> click.ClickException:
    extra = COMMANDS[name].extra if name in COMMANDS else None
    if extra is None:
        raise error
    return click.ClickException(
        f"`limner {name}` needs the extra {extra!r}: pip install 'limner[{extra}]' (no module {error.name!r})"
    )


def _failure(error: LimnerError) -> click.ClickException:
    if isinstance(error, InvalidRequest | ConfigurationError):
        return UsageError(error.message)
    return click.ClickException(error.message)


def _bad_settings(error: ValidationError) -> ConfigurationError:
    reasons = [f"LIMNER_{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors()]
    return ConfigurationError("; ".join(reasons))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="limner")
def cli() -> None:
    """Limner generates images from text on your own machines.

    Settings come from environment variables: the prefix LIMNER_ and the setting's name (LIMNER_PORT,
    LIMNER_DATA_DIR, …).
    """


def main() -> None:
    """Run the command line."""
    cli(prog_name="limner")


if __name__ == "__main__":
    sys.exit(main())
