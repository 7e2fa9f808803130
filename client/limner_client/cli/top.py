"""`limner top`: queues, workers and rates in the terminal, from the processes' metrics."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from typing import Final

import click
import httpx
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from limner_client.certificates import trusted
from limner_client.cli.process_metrics import MetricsDelta, Snapshot, read_figures
from limner_client.cli.server_options import server_url
from limner_client.cli.shown_text import shown
from limner_shared.errors import ServiceUnavailable
from limner_shared.settings import Settings

RESTART_SECONDS: Final = 5.0
"""How long a live view waits for a server that does not answer before it asks again."""


@click.command()
@click.option(
    "--server", help="URL of a web server or its operator's port. Default: LIMNER_SERVER_URL, or LIMNER_PORT here."
)
@click.option("--key", help="The operator's key, if the server requires one. Default: LIMNER_METRICS_KEY.")
@click.option("--interval", type=click.FloatRange(0.2, 60), default=2.0, show_default=True, help="Seconds.")
@click.option("--once", is_flag=True, help="Print one view and exit.")
def top(server: str | None, key: str | None, interval: float, once: bool) -> None:
    """Show queues, workers and rates, live, until Ctrl-C.

    The rates are those of the last interval. The figures of each process come from its operator's port, so run this
    where that can be reached.
    """
    settings = Settings()
    url = server_url(server, settings).rstrip("/")
    secret = key or settings.metrics_key
    console = Console()
    with httpx.Client(trust_env=False, timeout=RESTART_SECONDS, verify=trusted()) as client:
        before = read_figures(client, url, secret)
        time.sleep(interval)
        if once:
            console.print(view(MetricsDelta(before, read_figures(client, url, secret))))
            return
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                try:
                    after = read_figures(client, url, secret)
                except ServiceUnavailable as error:
                    live.update(shown(error.message), refresh=True)
                else:
                    live.update(view(MetricsDelta(before, after)), refresh=True)
                    before = after
                time.sleep(interval)


def view(change: MetricsDelta) -> Group:
    """The whole view."""
    parts = [queues(change.after), workers(change), rates(change)]
    missing = ", ".join(change.after.unreachable)
    return Group(*parts, f"[red]not reachable: {shown(missing)}[/]" if missing else "")


def queues(now: Snapshot) -> Table:
    """The queues that hold jobs."""
    table = _table("Queues", "model", "lane", "backlog", "paused", "released", "oldest")
    found = {(labels["model"], labels["lane"]) for _, labels, value in now.samples("limner_queue_jobs") if value}
    for model, lane in sorted(found):
        jobs = now.by("place", "limner_queue_jobs", model=model, lane=lane)
        ages = now.by("place", "limner_queue_oldest_seconds", model=model, lane=lane)
        counts = (f"{jobs.get(place, 0):.0f}" for place in ("backlog", "paused", "released"))
        _add(table, model, lane, *counts, duration(max(ages.values(), default=0.0)))
    if not found:
        _add(table, "no jobs wait", "", "", "", "", "")
    return table


def workers(change: MetricsDelta) -> Table:
    """The workers: what they hold and do."""
    table = _table("Workers", "worker", "models", "held", "jobs/s", "steps/s", "busy", "memory", "paused")
    now = change.after
    ended, steps = (change.rates("address", f"limner_{name}_total") for name in ("jobs_ended", "row_steps"))
    busy: dict[str, float] = {}
    for call in ("encode", "step", "decode"):
        for address, share in change.rates("address", f"limner_{call}_seconds_sum").items():
            busy[address] = busy.get(address, 0.0) + share
    draining = now.by("address", "limner_worker_draining")
    memory = now.by("address", "limner_device_memory_bytes", kind="allocated")
    for address, held in sorted(now.by("address", "limner_worker_held_jobs").items()):
        models = sorted({labels["model"] for at, labels, _ in now.samples("limner_worker_models") if at == address})
        paused = sorted(
            labels["what"] for at, labels, value in now.samples("limner_worker_paused") if at == address and value
        )
        paused = ["draining", *paused] if draining.get(address) else paused
        done = (f"{some.get(address, 0):.1f}" for some in (ended, steps))
        used = f"{busy.get(address, 0):.0%}", f"{memory.get(address, 0) / 2**20:.0f} MB"
        _add(table, address, ", ".join(models), f"{held:.0f}", *done, *used, ", ".join(paused))
    return table


def rates(change: MetricsDelta) -> Table:
    """What the service does each second, and how long clients wait."""
    table = _table("Rates", "what", "now")
    _add(table, "submitted", _per_second(change.rates("priority", "limner_jobs_submitted_total")))
    _add(table, "ended", _per_second(change.rates("state", "limner_jobs_ended_total")))
    errors = change.rates("code", "limner_jobs_ended_total", state="failed")
    _add(table, "failed", _per_second(errors))
    for title, name in (("wait, p95", "job_wait"), ("acceptance to success, p95", "job_end_to_end")):
        found = change.quantile(0.95, f"limner_{name}_seconds")
        _add(table, title, "" if found is None else f"at most {duration(found)}")
    _add(table, "HTTP", _per_second(change.rates("status", "limner_http_requests_total")))
    streams = sum(change.after.by("address", "limner_event_streams").values())
    _add(table, "event streams", f"{streams:.0f}")
    leads = change.after.by("duty", "limner_dispatcher_leads")
    _add(table, "leaders", ", ".join(f"{duty} {count:.0f}" for duty, count in sorted(leads.items())) or "none")
    lost = sum(change.after.by("address", "limner_leases_lost_total").values())
    dead = sum(change.after.by("address", "limner_dead_letters_total").values())
    _add(table, "since the start", f"{lost:.0f} leases lost, {dead:.0f} dead letters")
    return table


def duration(seconds: float) -> str:
    """A time in words: `0.25 s`, `90 s`, `15 min`, `3.0 h`."""
    if seconds == float("inf"):
        return "more than the largest bucket"
    if seconds < 120:  # noqa: PLR2004 - two minutes
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004 - two hours


def _per_second(values: Mapping[str, float]) -> str:
    some = [f"{value:.1f}/s {name}".rstrip() for name, value in sorted(values.items()) if value]
    return ", ".join(some) or "-"


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", expand=True)
    for column in columns:
        table.add_column(column)
    return table


def _add(table: Table, *cells: str) -> None:
    """Add a row. Names come from the network and must not be read as markup."""
    table.add_row(*_escaped(cells))


def _escaped(cells: Iterable[str]) -> list[str]:
    return [shown(cell) for cell in cells]
