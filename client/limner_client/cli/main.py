"""The root of the command `limner`: which commands there are, how each is loaded, and how errors reach the user.

No command's module is imported before it is called, so that `limner --help` is quick and needs no extra.
"""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any, Final

import click
from pydantic import ValidationError

from limner_shared.errors import ConfigurationError, InvalidRequest, LimnerError
from limner_shared.settings import Settings

GROUP: Final = "limner.commands"


@dataclass(frozen=True, slots=True)
class Lazy:
    """A command by the place of its click object; `extra` must be installed for it."""

    summary: str
    target: str = ""
    extra: str | None = None


COMMANDS: Final[dict[str, Lazy]] = {
    "up": Lazy("Start everything on this machine and keep it running.", "limner_client.cli.run:up"),
    "demo": Lazy("Make forty pictures from nothing, then stop everything.", "limner_client.cli.run:demo"),
    "generate": Lazy("Make a picture from a description.", "limner_client.cli.jobs:generate"),
    "bulk": Lazy("Make the pictures of a file of prompts; run it again to go on.", "limner_client.cli.bulk:bulk"),
    "jobs": Lazy("List your jobs, or show one.", "limner_client.cli.jobs:jobs"),
    "cancel": Lazy("Cancel jobs.", "limner_client.cli.jobs:cancel"),
    "replay": Lazy(
        "Make a job's pictures again, and say whether the bytes are the same.", "limner_client.cli.dead_letters:replay"
    ),
    "pause": Lazy("Start no more jobs of a bulk for now.", "limner_client.cli.dead_letters:pause"),
    "resume": Lazy("Go on with a paused bulk.", "limner_client.cli.dead_letters:resume"),
    "dead": Lazy("List the jobs that killed every worker, and do them again.", "limner_client.cli.dead_letters:dead"),
    "models": Lazy("List the models and what each allows.", "limner_client.cli.jobs:models"),
    "keys": Lazy("Create, list and revoke API keys.", "limner_client.cli.keys:keys"),
    "tenants": Lazy("List tenants; set weights, limits and retention.", "limner_client.cli.tenants:tenants"),
    "db": Lazy("Create or change the database's schema.", "limner_client.cli.admin:db"),
    "doctor": Lazy("Say what works here, what does not, and what to do.", "limner_client.cli.admin:doctor"),
    # Web and worker bring these through entry points; only what help says of them stands here.
    "serve": Lazy("Serve the HTTP API and the page.", extra="web"),
    "dispatch": Lazy("Release queued jobs to workers, and take back what lost workers held.", extra="worker"),
    "worker": Lazy("Generate pictures on this machine's device.", extra="worker"),
    "compress": Lazy("Pack a picture with the built-in autoencoder.", extra="worker"),
    "decompress": Lazy("Unpack such a picture.", extra="worker"),
    "evaluate": Lazy("Score a built-in model's pictures.", extra="train"),
    "train": Lazy("Train the built-in models again.", extra="train"),
}


class UsageError(click.ClickException):
    """What was typed or configured has to change before a second try."""

    exit_code = 2


class LazyGroup(click.Group):
    """A group that imports a command only to run it, and shows every expected error as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Our own in their order, then what other packages bring."""
        return [*COMMANDS, *sorted(entry_points(group=GROUP).names - COMMANDS.keys())]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command. Raises ClickException where its extra is not installed."""
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
        """Click would import every command for its summary; ours stand in a table."""
        names = self.list_commands(ctx)
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS.get(name, Lazy("")).summary) for name in names])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; whatever the user can mend becomes one clear line, never a traceback."""
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
    target = COMMANDS.get(name, Lazy("")).target
    if target:
        module, _, attribute = target.partition(":")
        return getattr(importlib.import_module(module), attribute)
    for entry in entry_points(group=GROUP, name=name):
        return entry.load()
    raise click.ClickException(
        f"The installed package does not bring `limner {name}`: install it again with pip install -e ."
    )


def _missing(name: str, error: ModuleNotFoundError) -> click.ClickException:
    extra = COMMANDS.get(name, Lazy("")).extra
    if extra is None:
        raise error
    return click.ClickException(
        f"`limner {name}` needs the extra {extra!r} (there is no module {error.name!r}): pip install 'limner[{extra}]'"
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
    """Limner turns descriptions into pictures, on your own machines.

    Settings come from the environment: every variable is LIMNER_ and a name (LIMNER_PORT, LIMNER_DATA_DIR, …).
    """


def main() -> None:
    """Run the command line."""
    cli(prog_name="limner")


if __name__ == "__main__":
    sys.exit(main())
