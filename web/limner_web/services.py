"""What a web process holds: built once, found by every handler, never a module-level singleton."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from celery import Celery
from flask import Flask, current_app

from limner_shared import ledger
from limner_shared.blobs import Blobs
from limner_shared.cards import Catalogue
from limner_shared.celery_app import make_celery
from limner_shared.database import Database
from limner_shared.events import Hints, connect
from limner_shared.settings import Settings
from limner_web.inputs import Inputs
from limner_web.listener import Listener
from limner_web.load import Gate, RequestRate


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
    gate: Gate
    rate: RequestRate


def build(settings: Settings) -> Services:
    """Open everything that the settings name."""
    database = Database(settings.resolved_database_url)
    with database.write() as session:
        ledger.ensure_tenant(session, ledger.LOCAL_TENANT, "local")
    redis = connect(settings.redis_url)
    blobs = Blobs(settings.resolved_blob_url)
    return Services(
        settings,
        database,
        blobs,
        Hints(redis),
        make_celery(settings),
        Catalogue.load(settings.models, settings.default_model),
        Inputs(database, blobs),
        Listener(redis),
        Gate(settings),
        RequestRate(settings),
    )


def services() -> Services:
    """The services of the app that handles this request."""
    return services_of(current_app)


def services_of(app: Flask) -> Services:
    """An app's services."""
    return cast("Services", app.extensions["limner"])
