"""`limner tenants`: weights, limits and retention of the tenants."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, cast

import click
from rich.console import Console
from rich.table import Table

from limner_client.cli.admin import opened_database
from limner_client.cli.shown_text import shown
from limner_shared.db.accounts import tenants as store
from limner_shared.domain.text_rules import rules_of_terms

UNSET: Final = "-"
MAX_TERM_BYTES: Final = 64_000
"""A worker gets a tenant's terms with each of its jobs."""


class Limit(click.ParamType[float]):
    """A number, or `none` for no limit."""

    name = "number|none"

    def __init__(self, least: float, *, whole: bool) -> None:
        self._least = least
        self._whole = whole

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or the string `none`: None already means that the option was not given."""
        if str(value).lower() == "none":
            return "none"
        try:
            number = int(value) if self._whole else float(value)
        except ValueError:
            number = float("nan")
        if not number >= self._least or number == float("inf"):
            kind = "a whole number" if self._whole else "a number"
            self.fail(f"{value!r} is not {kind} of at least {self._least:g}, nor `none`.", param, ctx)
        return number


class Terms(click.ParamType[Any]):
    """A file with a term a line, or `none`."""

    name = "file|none"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the terms, or the string `none`."""
        if value == "none" or isinstance(value, list):
            return cast("Any", value)
        try:
            lines = [line.strip() for line in Path(value).read_text("utf-8").splitlines()]
            terms = [line for line in lines if line and not line.startswith("#")]
            rules_of_terms(tuple(terms))
        except (OSError, ValueError) as error:
            self.fail(str(error), param, ctx)
        if len(json.dumps(terms)) > MAX_TERM_BYTES:
            self.fail(f"{value}: more than {MAX_TERM_BYTES} bytes of terms.", param, ctx)
        return terms


@click.group(invoke_without_command=True)
@click.pass_context
def tenants(ctx: click.Context) -> None:
    """List the tenants, or change one."""
    if ctx.invoked_subcommand is None:
        ctx.invoke(tenants_list)


@tenants.command("list")
def tenants_list() -> None:
    """List all tenants with their weights, limits and retention."""
    table = Table("tenant", *(field.replace("_", " ") for field in store.FIELDS), box=None)
    with opened_database() as database, database.read() as session:
        for tenant in store.list_tenants(session):
            table.add_row(*map(shown, (tenant.name, *(_say(getattr(tenant, field)) for field in store.FIELDS))))
    Console().print(table)


def _say(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return f"{len(cast('list[str]', value))} terms"
    return UNSET if value is None else value if isinstance(value, str) else f"{value:g}"


@tenants.command("set")
@click.argument("name")
@click.option(
    "--weight",
    type=click.FloatRange(0.001, 1000),
    help="Relative share of the service; 1 at first.",
)
@click.option("--requests-per-minute", type=Limit(1, whole=True), help="Maximum requests per minute.")
@click.option("--max-queued", type=Limit(1, whole=True), help="Maximum number of queued jobs.")
@click.option("--max-running", type=Limit(1, whole=True), help="Maximum number of released and running jobs.")
@click.option(
    "--cost-per-day",
    type=Limit(1, whole=True),
    help="Maximum cost (steps × tokens × images × candidates) per day, UTC.",
)
@click.option("--keep-images-days", type=Limit(0, whole=False), help="Days after which images are deleted.")
@click.option("--keep-prompts-days", type=Limit(0, whole=False), help="Days after which prompts are blanked.")
@click.option("--keep-jobs-days", type=Limit(0, whole=False), help="Days after which jobs are deleted.")
@click.option(
    "--safety",
    type=click.Choice(["off", "label", "block", "none"]),
    help="What is done about flagged pictures; none: as the model card or the service has it.",
)
@click.option("--blocked-terms", type=Terms(), help="File with a term a line; prompts with one are refused.")
@click.option(
    "--sign-pictures", type=click.Choice(["yes", "no", "none"]), help="Sign pictures (C2PA); none: as the service does."
)
@click.option("--share-results", type=bool, help="Generate equal requests of this tenant (same seed) only once.")
def tenants_set(name: str, **given: Any) -> None:
    """Change the given values of the tenant NAME, which is created if needed; `none` removes a limit.

    Requests without a key, if keys are not required, belong to the tenant `local`.
    """
    changes = {field: None if value == "none" else value for field, value in given.items() if value is not None}
    if changes.get("sign_pictures") is not None:
        changes["sign_pictures"] = changes["sign_pictures"] == "yes"
    with opened_database() as database, database.write() as session:
        store.change_tenant(session, name, changes)
    said = ", ".join(f"{field} = {_said(value)}" for field, value in changes.items())
    click.echo(f"{name}: {said or 'nothing to change'}")


def _said(value: Any) -> str:
    """A changed value; terms are only counted, as they are no text for logs."""
    return f"{len(cast('list[str]', value))} terms" if isinstance(value, list) else str(value)
