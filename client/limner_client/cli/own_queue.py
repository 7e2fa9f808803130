"""`limner own-queue`: pause and resume one's own queue, and cancel what waits there."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click

from limner_client.cli.parameter_types import ExpiryType
from limner_client.cli.server_options import make_client, server_options
from limner_shared.domain.access import Expiry
from limner_shared.domain.account_views import OwnPauseView
from limner_shared.domain.jobs import Priority
from limner_shared.domain.views import PauseNotice


@click.group("own-queue")
def own_queue() -> None:
    """Pause and resume your own queue, or cancel what waits there."""


@own_queue.command("pause")
@click.option("--reason", help="Shown with the jobs that wait.")
@click.option("--until", type=ExpiryType(), help="When the pause ends: 12h, 3d, or a date or time (UTC).")
@server_options
def own_queue_pause(*, reason: str | None, until: Expiry | None, server: str | None, key: str | None) -> None:
    """Pause your queue. Running jobs end; no other job starts until you resume it."""
    end = None
    if until is not None:
        seconds = time.time() + until.seconds if until.is_relative else until.seconds
        end = datetime.fromtimestamp(seconds, UTC)
    with make_client(server, key) as client:
        _print(client.own_queue.pause(reason, end))


@own_queue.command("resume")
@server_options
def own_queue_resume(*, server: str | None, key: str | None) -> None:
    """Resume your queue: its jobs are released in their order. A pause of the operator's remains."""
    with make_client(server, key) as client:
        _print(client.own_queue.resume())


@own_queue.command("cancel")
@click.option("--model", help="Only jobs of this model.")
@click.option("--priority", type=click.Choice([each.value for each in Priority]), help="Only jobs of this class.")
@click.confirmation_option("--yes", prompt="Cancel all of these jobs that wait?", help="Do not ask first.")
@server_options
def own_queue_cancel(*, model: str | None, priority: str | None, server: str | None, key: str | None) -> None:
    """Cancel your jobs that wait, those of bulks too. Running jobs go on."""
    with make_client(server, key) as client:
        canceled = client.own_queue.cancel(model, None if priority is None else Priority(priority))
    click.echo(f"{canceled} {'job' if canceled == 1 else 'jobs'} canceled.")


@own_queue.command("show")
@server_options
def own_queue_show(*, server: str | None, key: str | None) -> None:
    """Say whether your queue is paused, and by whom."""
    with make_client(server, key) as client:
        _print(client.own_queue.state())


def _print(view: OwnPauseView) -> None:
    if view.operator is not None:
        click.echo(f"The operator has paused your queue{_detail(view.operator)}.")
    if view.own is not None:
        click.echo(f"You have paused your queue{_detail(view.own)}.")
    if view.operator is None and view.own is None:
        click.echo("Your queue is not paused.")


def _detail(pause: PauseNotice) -> str:
    until = "" if pause.until is None else f" until {pause.until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return until if pause.reason is None else f"{until}: {pause.reason}"
