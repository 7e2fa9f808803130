"""`limner webhooks`: endpoints, the log of deliveries, and repeats."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.table import Column, Table

from limner_client.cli.server_options import make_client, server_options
from limner_client.cli.shown_text import shown
from limner_shared.domain.webhook_views import DeliveryDetail
from limner_shared.domain.webhooks import KEPT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, DeliveryState, EventType
from limner_shared.errors import InvalidRequest

SHOWN: Final = 100
"""Deliveries in a list; the API allows no more on one page."""
DEFAULT_TYPES: Final = [EventType.JOB_SUCCEEDED.value, EventType.JOB_FAILED.value, EventType.JOB_CANCELED.value]
TYPE: Final = click.Choice([each.value for each in EventType])
STATE: Final = click.Choice([each.value for each in DeliveryState])


class TimeType(click.ParamType[str]):
    """A date or time in ISO 8601, which is in UTC without an offset."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the time; an invalid one is a usage error."""
        try:
            moment = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time: use 2027-01-31 or 2027-01-31T18:00:00Z.", param, ctx)
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return aware.astimezone(UTC).isoformat()


@click.group()
def webhooks() -> None:
    """Manage webhook endpoints, show deliveries, and repeat them."""


@webhooks.command("create")
@click.argument("url")
@click.option("--name", default="endpoint", show_default=True, help="A name for people.")
@click.option("--event", "types", type=TYPE, multiple=True, help="May be repeated. Default: the ends of jobs.")
@server_options
def webhooks_create(*, url: str, name: str, types: tuple[str, ...], server: str | None, key: str | None) -> None:
    """Create an endpoint for URL, and print its id and its secret. The secret is shown only once."""
    with make_client(server, key) as client:
        made = client.webhooks.create(name, url, types or DEFAULT_TYPES)
    click.echo(f"{made.id}\n{made.signing_secret}")


@webhooks.command("list")
@server_options
def webhooks_list(*, server: str | None, key: str | None) -> None:
    """List the endpoints."""
    table = Table(Column("endpoint", no_wrap=True), "name", "url", "events", "secret", box=None)
    with make_client(server, key) as client:
        for each in client.webhooks.endpoints():
            table.add_row(
                each.id, shown(each.name), shown(each.url), " ".join(each.event_types), each.signing_secret_hint
            )
    Console().print(table)


@webhooks.command("rotate")
@click.argument("endpoint_id", required=False)
@click.option(
    "--overlap",
    type=click.IntRange(0, MAX_OVERLAP_SECONDS),
    default=KEPT_OVERLAP_SECONDS,
    show_default=True,
    help="Seconds for which the old secret signs too.",
)
@server_options
def webhooks_rotate(*, endpoint_id: str | None, overlap: int, server: str | None, key: str | None) -> None:
    """Replace the secret of ENDPOINT_ID, or without it the one of jobs' and bulks' webhooks, and print the new one."""
    with make_client(server, key) as client:
        calls = client.webhooks
        secret = calls.rotate(endpoint_id, overlap).signing_secret if endpoint_id else calls.rotate_secret(overlap)
    click.echo(secret)


@webhooks.command("secret")
@server_options
def webhooks_secret(*, server: str | None, key: str | None) -> None:
    """Print the secret that signs the webhooks of jobs and bulks."""
    with make_client(server, key) as client:
        click.echo(client.webhooks.secret())


@webhooks.command("test")
@click.argument("endpoint_id")
@click.option("--event", "event_type", type=TYPE, default=EventType.JOB_SUCCEEDED.value, show_default=True)
@server_options
def webhooks_test(*, endpoint_id: str, event_type: str, server: str | None, key: str | None) -> None:
    """Send ENDPOINT_ID a test event, and print the status that it answers."""
    with make_client(server, key) as client:
        click.echo(client.webhooks.test(endpoint_id, event_type).status_code)


@webhooks.command("delete")
@click.argument("endpoint_id")
@server_options
def webhooks_delete(*, endpoint_id: str, server: str | None, key: str | None) -> None:
    """Delete ENDPOINT_ID; what was not delivered to it is canceled."""
    with make_client(server, key) as client:
        client.webhooks.delete(endpoint_id)
    click.echo(f"{endpoint_id} is deleted.")


@webhooks.command("deliveries")
@click.option("--state", type=STATE, help="Only deliveries in this state.")
@click.option("--endpoint", help="Only deliveries to this endpoint.")
@click.option("--since", type=TimeType(), help="Only deliveries created at this time or later (UTC).")
@click.option("--until", type=TimeType(), help="Only deliveries created before this time (UTC).")
@server_options
def webhooks_deliveries(
    *,
    state: str | None,
    endpoint: str | None,
    since: str | None,
    until: str | None,
    server: str | None,
    key: str | None,
) -> None:
    """List the newest deliveries."""
    table = Table(Column("delivery", no_wrap=True), "event", "subject", "state", "attempts", "url", box=None)
    with make_client(server, key) as client:
        found = client.webhooks.deliveries(state=state, endpoint=endpoint, since=since, until=until, limit=SHOWN)
    for each in found.items:
        table.add_row(each.id, each.type, each.subject, each.state, str(each.attempts), shown(each.url))
    Console().print(table)


@webhooks.command("show")
@click.argument("delivery_id")
@server_options
def webhooks_show(*, delivery_id: str, server: str | None, key: str | None) -> None:
    """Show a delivery: what was sent, and what came back each time."""
    with make_client(server, key) as client:
        _print(client.webhooks.delivery(delivery_id))


@webhooks.command("redeliver")
@click.argument("ids", metavar="[DELIVERY_ID]...", nargs=-1)
@click.option("--since", type=TimeType(), help="All deliveries created at this time or later (UTC).")
@click.option("--until", type=TimeType(), help="With --since: only those created before this time (UTC).")
@click.option("--state", type=STATE, default="failed", show_default=True, help="With --since: only this state.")
@click.option("--endpoint", help="With --since: only deliveries to this endpoint.")
@server_options
def webhooks_redeliver(
    *,
    ids: tuple[str, ...],
    since: str | None,
    until: str | None,
    state: str,
    endpoint: str | None,
    server: str | None,
    key: str | None,
) -> None:
    """Send the named deliveries again, or those of a time range. They have the same ids and bodies as before."""
    if (since is not None) == bool(ids):
        raise InvalidRequest("Name the deliveries to repeat, or use --since.")
    with make_client(server, key) as client:
        for each in ids:
            client.webhooks.redeliver(each)
        chosen = {"since": since, "until": until, "state": state, "endpoint": endpoint}
        count = len(ids) if since is None else sum(client.webhooks.redeliver_range(chosen))
    click.echo(f"{count} deliveries are sent again.")


def _print(delivery: DeliveryDetail) -> None:
    console = Console(highlight=False)
    console.print(f"{delivery.type} of {delivery.subject} to {shown(delivery.url)}: {delivery.state}", soft_wrap=True)
    console.print(shown(delivery.body or "(the body is not made yet, or was deleted)"), soft_wrap=True)
    for each in delivery.tries:
        said = each.error_message or f"{each.status}"
        line = f"{each.number}. {each.at:%Y-%m-%d %H:%M:%S} to {each.address}, {each.seconds * 1000:.0f} ms: {said}"
        console.print(shown(line), soft_wrap=True)
        for name, value in each.request_headers.items():
            console.print(shown(f"   {name}: {value}"), style="dim", soft_wrap=True)
        if each.answer:
            console.print(shown(each.answer), style="dim", soft_wrap=True)
