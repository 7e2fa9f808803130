"""What a web process holds: built once, found by every handler, never a module-level singleton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from celery import Celery
from flask import Flask, current_app

from limner_shared.db import ledger
from limner_shared.db.engine import Database
from limner_shared.domain.cards import Catalogue
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.hints import Hints, connect
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.threads import Supervisor
from limner_web.input_images import Inputs
from limner_web.serving import cooperative
from limner_web.serving.offload import Threads
from limner_web.serving.probe import Probe
from limner_web.throttling import ConcurrencyLimiter, RequestRate
from limner_web.updates.feed import Feeds
from limner_web.updates.listener import Listener
from limner_web.updates.watch import Watches

STORAGE_THREADS: Final = 8
STORAGE_WAITING: Final = 64
PILLOW_THREADS: Final = 1
PILLOW_WAITING: Final = 32
"""Further calls are refused, so that a store that hangs does not take up the whole server."""


@dataclass(frozen=True, slots=True)
class Services:
    """The parts that handlers use."""

    settings: Settings
    database: Database
    blobs: Blobs
    hints: Hints
    celery: Celery
    catalogue: Catalogue
    inputs: Inputs
    listener: Listener
    watches: Watches
    feeds: Feeds
    probe: Probe
    gate: ConcurrencyLimiter
    rate: RequestRate
    storage: Threads
    """For calls of `blobs`."""
    pillow: Threads
    """For pictures that are decoded here: one at a time, since each may take 200 MB."""


def build(settings: Settings) -> Services:
    """Open everything that the settings name."""
    database = Database(settings.resolved_database_url)
    cooperative.install(database.engine)
    with database.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")
    redis = connect(settings.redis_url)
    supervisor = Supervisor()
    listener = Listener(connect(settings.redis_url, decode_responses=False), supervisor)
    blobs = Blobs(settings.resolved_blob_url)
    storage, pillow = Threads(STORAGE_THREADS, STORAGE_WAITING), Threads(PILLOW_THREADS, PILLOW_WAITING)
    return Services(
        settings=settings,
        database=database,
        blobs=blobs,
        hints=Hints(redis),
        celery=make_celery(settings),
        catalogue=Catalogue.load(settings.models, settings.default_model),
        inputs=Inputs(database, blobs, storage, pillow),
        listener=listener,
        watches=Watches(listener, database, supervisor),
        feeds=Feeds(listener),
        probe=Probe(settings.resolved_database_url, redis),
        gate=ConcurrencyLimiter(settings),
        rate=RequestRate(settings),
        storage=storage,
        pillow=pillow,
    )


def get_services() -> Services:
    """The services of the app that handles this request."""
    return services_of(current_app)


def services_of(app: Flask) -> Services:
    """An app's services."""
    return cast("Services", app.extensions["limner"])
