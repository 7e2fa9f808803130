"""The services of a web process. They are built once with the application and are never module-level singletons."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, cast

from celery import Celery
from flask import current_app, request

from limner_shared.c2pa_signing import PictureSigner
from limner_shared.db.engine import Database
from limner_shared.db.signed_links import SignedLinks
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.webhook_targets import Targets
from limner_shared.messaging.celery_app import make_celery
from limner_shared.messaging.hints import Hints, connect
from limner_shared.messaging.wakeups import WakeUps
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.threads import Supervisor
from limner_web.adapter_folders import AdapterFolders
from limner_web.http.throttling import ConcurrencyLimiter, RequestRate
from limner_web.identity_provider import IdentityProvider
from limner_web.key_usage import KeyUsage
from limner_web.limits import (
    PILLOW_IN_TURN,
    PILLOW_THREADS,
    PILLOW_WAITING,
    SIGNING_THREADS,
    SIGNING_WAITING,
    STORAGE_THREADS,
    STORAGE_WAITING,
)
from limner_web.model_names import ModelNames
from limner_web.moderation import Moderation
from limner_web.pictures.bucket_redirects import BucketRedirects
from limner_web.pictures.input_images import Inputs
from limner_web.pictures.renditions import Renditions
from limner_web.pictures.vector_cache import VectorCache
from limner_web.serving import cooperative
from limner_web.serving.offload import OffloadPool
from limner_web.serving.page_turns import PageTurns
from limner_web.serving.probe import Probe
from limner_web.serving.shutdown import Shutdown
from limner_web.updates.feed import Feeds
from limner_web.updates.listener import Listener
from limner_web.updates.unchanged import UnchangedPolls
from limner_web.updates.watch import Watches
from limner_web.worker_limits import WorkerLimits

STORING: Final = "images and files are being stored or read"


@dataclass(frozen=True, slots=True)
class Services:
    """What request handlers need: connections, stores and limiters."""

    settings: Settings
    database: Database
    blobs: Blobs
    hints: Hints
    wakeups: WakeUps
    celery: Celery
    catalogue: Catalogue
    model_names: ModelNames
    inputs: Inputs
    moderation: Moderation
    worker_limits: WorkerLimits
    adapter_folders: AdapterFolders
    renditions: Renditions
    bucket_redirects: BucketRedirects
    links: SignedLinks
    vectors: VectorCache
    listener: Listener
    watches: Watches
    unchanged: UnchangedPolls
    feeds: Feeds
    probe: Probe
    shutdown: Shutdown
    limiter: ConcurrencyLimiter
    request_rate: RequestRate
    key_usage: KeyUsage
    supervisor: Supervisor
    """The threads of this process."""
    identity_provider: IdentityProvider | None
    targets: Targets
    """Where webhooks may be sent."""
    storage: OffloadPool
    """Threads for calls of `blobs`."""
    pillow: OffloadPool
    """Threads for decoding and encoding images."""
    page_turns: PageTurns = field(default_factory=PageTurns)
    """Turns of exports, which read many rows."""


def build(settings: Settings) -> Services:
    """Build the services that the settings name. No call of the database, Redis or picture store: they may be away."""
    database = _opened(settings)
    hints, supervisor = Hints(redis := connect(settings.redis_url)), Supervisor()
    catalogue, signer = Catalogue.load(settings.models, settings.default_model), PictureSigner.of(settings)
    listener = Listener(connect(settings.redis_url, decode_responses=False), supervisor)
    blobs, limiter = Blobs(settings.resolved_blob_url), ConcurrencyLimiter(settings)
    storage, pillow, signing = _pools(limiter.tenant_share)
    return Services(
        settings=settings,
        database=database,
        blobs=blobs,
        hints=hints,
        wakeups=WakeUps(database, hints),
        celery=make_celery(settings),
        catalogue=catalogue,
        model_names=ModelNames(settings, catalogue),
        inputs=Inputs(database, blobs, storage, pillow, signer),
        moderation=Moderation(settings, database, pillow),
        worker_limits=WorkerLimits(redis),
        adapter_folders=AdapterFolders(catalogue.cards.values()),
        renditions=Renditions(blobs, storage, pillow, signing, signer),
        bucket_redirects=BucketRedirects(settings, blobs, storage),
        links=SignedLinks(settings, database),
        vectors=VectorCache(database, limiter.tenant_share),
        listener=listener,
        watches=Watches(listener, database, supervisor),
        unchanged=UnchangedPolls(listener),
        feeds=Feeds(listener, database, supervisor),
        probe=Probe(settings, redis, database, lambda: blobs.trouble),
        shutdown=Shutdown(),
        limiter=limiter,
        request_rate=RequestRate(settings),
        key_usage=KeyUsage(database, supervisor),
        supervisor=supervisor,
        identity_provider=IdentityProvider.of(settings),
        targets=Targets.parse(settings.webhook_internal_targets),
        storage=storage,
        pillow=pillow,
    )


def _pools(tenant_share: float) -> tuple[OffloadPool, OffloadPool, OffloadPool]:
    """The threads for the picture store, for Pillow and for signatures."""
    return (
        OffloadPool(STORAGE_THREADS, STORAGE_WAITING, tenant_share, work=STORING),
        OffloadPool(PILLOW_THREADS, PILLOW_WAITING, tenant_share, in_turn=PILLOW_IN_TURN),
        OffloadPool(SIGNING_THREADS, SIGNING_WAITING, tenant_share, work="images are being signed"),
    )


def _opened(settings: Settings) -> Database:
    database = Database.of(settings)
    cooperative.install(database.engine)
    return database


def get_services() -> Services:
    """Return the services of the application that handles this request."""
    return cast("Services", current_app.extensions["limner"])


def public_origin(services: Services) -> str:
    """The scheme, host and port at which clients reach this service: as configured, or as this request names them."""
    return services.settings.public_url or request.host_url.rstrip("/")
