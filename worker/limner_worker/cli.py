"""The commands `limner worker` and `limner fetch`."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, cast

import click
from celery.exceptions import CPendingDeprecationWarning
from celery.platforms import SecurityWarning

from limner_shared import trace_export
from limner_shared.db.schema import require_current
from limner_shared.domain.catalogue import Catalogue
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.redis_servers import require_usable
from limner_shared.metrics.exposition import configure, start_at_zero
from limner_shared.settings import Settings
from limner_shared.telemetry import configure_logging


@click.command()
@click.option("--model", "models", multiple=True, help="Model to serve; may be repeated. Default: all models.")
def worker(models: tuple[str, ...]) -> None:
    """Generate pictures on this machine's device until stopped."""
    # Imported here: the command line must not load torch to list its commands.
    from limner_worker.generators.model_cache import ModelCache  # noqa: PLC0415
    from limner_worker.generators.registry import load  # noqa: PLC0415
    from limner_worker.runtime.admission import Admission, queue_order  # noqa: PLC0415
    from limner_worker.runtime.pool import engine_pool  # noqa: PLC0415
    from limner_worker.runtime.service import WorkerService  # noqa: PLC0415
    from limner_worker.runtime.tasks import register  # noqa: PLC0415

    settings = Settings()
    configure_logging(settings, "worker")
    configure(settings, "worker")
    trace_export.configure(settings, "worker")
    # Celery warns about running as root because of pickle, which no queue here accepts; containers run as a
    # separate user.
    warnings.simplefilter("ignore", SecurityWarning)
    require_current(settings.resolved_database_url, settings.database_direct_url)
    require_usable(settings.redis_url)
    catalogue = Catalogue.load(settings.models, settings.default_model)
    cards = [catalogue.get(name) for name in models or catalogue.cards]
    models_in_memory = ModelCache(cards, partial(load, settings=settings), settings.model_memory_bytes)
    start_at_zero(models_in_memory.cards)
    admission = Admission(settings.slots, models_in_memory.cards)
    app = make_celery(settings, models_in_memory.cards, queue_order(admission))
    register(app)
    celery_worker = cast("Any", app).Worker(
        pool_cls=engine_pool(partial(WorkerService, settings, models_in_memory, admission)),
        without_gossip=True,
        without_mingle=True,
        quiet=True,
        loglevel=settings.log_level,
    )
    # Only now, because Celery's own setup shows it: at each lost connection, about a setting for long tasks.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)
    try:
        celery_worker.start()
    finally:
        trace_export.close()
    raise SystemExit(celery_worker.exitcode or 0)


@click.command()
@click.argument("models", nargs=-1)
def fetch(models: tuple[str, ...]) -> None:
    """Download and verify what the cards of MODELS name on a hub; all models by default.

    A worker that starts afterwards finds the files in the cache. Running workers are not disturbed.
    """
    # Imported here: the command line must not load torch to show this command's help.
    from limner_worker.generators.diffusers.weights.hub_files import fetch_files  # noqa: PLC0415

    settings = Settings()
    catalogue = Catalogue.load(settings.models, settings.default_model)
    for card in [catalogue.get(name) for name in models or catalogue.cards]:
        found = fetch_files(card)
        click.echo(f"{card.name}: {', '.join(found) or 'nothing is on a hub'}")
