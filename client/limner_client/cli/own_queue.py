"""`limner own-queue`: pause and resume one's own queue, and cancel what waits there."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import click
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from limner_client.cli.parameter_types import ExpiryType
from limner_client.cli.retrying import retry_while_unavailable
from limner_client.cli.server_options import make_client, server_options
from limner_client.client import Client
from limner_client.own_queue import POLL_SECONDS
from limner_shared.domain.access import Expiry
from limner_shared.domain.account_views import CancellationView, OwnPauseView
from limner_shared.domain.cancellations import CancellationState
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
    """Pause your queue. Running jobs are finished; no other job starts until you resume it."""
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
    """Cancel your jobs that wait, those of bulks too. Running jobs go on.

    The service does it, and the command shows how far it is. Ctrl-C stops only the command; `limner own-queue
    stop-canceling` stops the service.
    """
    with make_client(server, key) as client:
        began = client.own_queue.begin_cancel(model, None if priority is None else Priority(priority))
        view = None if began.cancellation is None else _follow(client, began.cancellation)
    click.echo(f"{_jobs(view.canceled if view else began.canceled)} canceled.")
    if view is not None and view.status is CancellationState.STOPPED:
        click.echo("Then the cancellation was stopped: the other jobs still wait.", err=True)
        raise SystemExit(1)


@own_queue.command("stop-canceling")
@click.argument("cancellation_id", required=False)
@server_options
def own_queue_stop_canceling(*, cancellation_id: str | None, server: str | None, key: str | None) -> None:
    """Stop the cancellation CANCELLATION_ID, or each that runs: what is not canceled yet stays in the queue."""
    with make_client(server, key) as client:
        mine = client.own_queue
        ids = [each.id for each in mine.cancellations()] if cancellation_id is None else [cancellation_id]
        ended = [mine.stop_cancellation(each) for each in ids]
    if not ended:
        click.echo("Nothing is being canceled.")
    for each in ended:
        has = "is stopped" if each.status is CancellationState.STOPPED else "had already finished"
        click.echo(f"{each.id} {has}: {_jobs(each.canceled)} canceled.")


@own_queue.command("show")
@server_options
def own_queue_show(*, server: str | None, key: str | None) -> None:
    """Say whether your queue is paused, and by whom, and which cancellations run."""
    with make_client(server, key) as client:
        _print(client.own_queue.state())
        for each in client.own_queue.cancellations():
            of = f" of {each.model}" if each.model else ""
            of += f" with {each.priority} priority" if each.priority else ""
            click.echo(f"{each.id} cancels all that waits{of}: {_jobs(each.canceled)} so far.")


def _follow(client: Client, cancellation_id: str) -> CancellationView:
    """Show how far a cancellation is until it ends, also after outages of the server."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task("canceling", total=None)
            while True:
                view = retry_while_unavailable(lambda: client.own_queue.cancellation(cancellation_id))
                if view.status is not CancellationState.RUNNING:
                    return view
                progress.update(task, description=f"canceling: {_jobs(view.canceled)} so far")
                time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        stop = f"limner own-queue stop-canceling {cancellation_id}"
        click.echo(f"\n{cancellation_id} continues on the server; to stop it: {stop}", err=True)
        raise


def _jobs(count: int) -> str:
    return f"{count:,} {'job' if count == 1 else 'jobs'}"


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
