"""A process's metrics as text for Prometheus, and how several web processes share theirs."""

from __future__ import annotations

import atexit
import os
import shutil
from collections.abc import Callable, Iterable
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from typing import Any, Final, cast

from limner_shared import metrics
from limner_shared.errors import GenerationFailed, StorageFailed, StorageFull
from limner_shared.metrics.instruments import ALL, STATE
from limner_shared.metrics.shared_folder import make_folder
from limner_shared.settings import Settings
from limner_shared.storage_failures import StorageReason
from limner_shared.telemetry import get_logger

log = get_logger(__name__)

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable by which `prometheus_client` finds the shared folder; it reads it when it is imported."""


def configure(settings: Settings, process: str) -> None:
    """Begin to measure in this process, or switch all metrics off as the settings say."""
    STATE.enabled = settings.metrics
    STATE.by_tenant = settings.metrics_by_tenant
    if not settings.metrics:
        return
    for metric in ALL.values():
        metric.prepare()
    if not is_shared():
        from prometheus_client import GCCollector, PlatformCollector, ProcessCollector  # noqa: PLC0415

        for collector in (GCCollector, PlatformCollector, ProcessCollector):
            collector(registry=STATE.registry)
    metrics.BUILD_INFO.set(1, version=installed_version(), process=process)


def start_at_zero(models: Iterable[str]) -> None:
    """Export the counters of alerts and graphs before their first event: Prometheus sees no increase in a value that
    was not there before.
    """
    for model in models:
        for counter in (metrics.LEASES_LOST, metrics.DEAD_LETTERS, metrics.OUT_OF_MEMORY, metrics.PADDING_ROW_STEPS):
            counter.inc(0, model=model)
        metrics.JOBS_REQUEUED.inc(0, model=model, reason="lease_lost")
        metrics.JOBS_RELEASED_AGAIN.inc(0, model=model)
        metrics.JOBS_ENDED.inc(0, model=model, state="succeeded", code="")
        metrics.JOBS_ENDED.inc(0, model=model, state="failed", code=GenerationFailed.code)
    for operation in ("read", "write"):
        for kind in ("full", "away", "statement"):
            metrics.DATABASE_ERRORS.inc(0, operation=operation, kind=kind)
    for operation in ("command", "pipeline", "publish"):
        metrics.REDIS_ERRORS.inc(0, operation=operation)
    _start_store_at_zero()
    for state in ("delivered", "pending", "failed"):
        metrics.WEBHOOK_DELIVERIES.inc(0, state=state)
    for what in ("text", "picture"):
        metrics.MODERATED.inc(0, what=what, result="blocked")


def _start_store_at_zero() -> None:
    for reason in StorageReason:
        code = StorageFull.code if reason is StorageReason.FULL else StorageFailed.code
        metrics.BLOB_ERRORS.inc(0, operation="put", code=code, reason=reason.value)
    for kind, problem in product(("picture", "input", "file"), ("missing", "damaged")):
        metrics.LOST_OBJECTS.inc(0, kind=kind, problem=problem)


def share_values() -> Callable[[int], None]:
    """Let the processes that are forked from this one count together. Call it before any measurement.

    Returns what must be called with the number of each process that has ended.
    """
    folder = str(make_folder())
    owner = os.getpid()
    os.environ[FOLDER] = folder

    def delete() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(delete)
    from prometheus_client import multiprocess  # noqa: PLC0415 - reads the variable

    return cast("Callable[[int], None]", cast("Any", multiprocess).mark_process_dead)


def is_shared() -> bool:
    """Whether several processes count together."""
    return FOLDER in os.environ


def at_scrape(measure: Callable[[], None]) -> None:
    """Call a function before each reading of the metrics; for values that nothing else updates."""
    STATE.at_scrape.append(measure)


def render() -> tuple[bytes, str]:
    """The current values, and the content type of that text."""
    from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest  # noqa: PLC0415
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415

    for measure in STATE.at_scrape:
        try:
            measure()
        except Exception:  # the other metrics are still right
            log.exception("a metric could not be measured")
    registry = STATE.registry
    if is_shared():
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
    return generate_latest(registry), CONTENT_TYPE_LATEST


def installed_version() -> str:
    """The version of the installed package, or `unknown`."""
    try:
        return version("limner")
    except PackageNotFoundError:
        return "unknown"
