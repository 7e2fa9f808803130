"""The dispatcher's command: `limner dispatcher`."""

from __future__ import annotations

import signal
import threading

import click

from limner_dispatcher.dispatcher import run_dispatcher
from limner_shared import trace_export
from limner_shared.db.schema import require_current
from limner_shared.metrics.exposition import configure
from limner_shared.settings import Settings
from limner_shared.telemetry import configure_logging


@click.command()
def dispatcher() -> None:
    """Release queued jobs to the workers, and requeue the jobs of lost workers. Several dispatchers may run."""
    settings = Settings()
    configure_logging(settings, "dispatch")
    configure(settings, "dispatcher")
    trace_export.configure(settings, "dispatcher")
    require_current(settings.resolved_database_url, settings.database_direct_url)
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stopping.set())
    try:
        run_dispatcher(settings, stopping)
    finally:
        trace_export.close()
