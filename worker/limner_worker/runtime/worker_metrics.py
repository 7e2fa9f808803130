"""The figures of a worker that are measured when they are read, and its report."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from limner_shared import metrics
from limner_shared.messaging.reports import MODERATION, STORE, WorkerReport
from limner_worker.generators.device_memory import memory_bytes
from limner_worker.runtime.admission import Admission


def measure(held: int, models: Sequence[str], admission: Admission) -> None:
    """Set the gauges: the number of held jobs, the models served, those that are paused, and whether it drains."""
    tripped = admission.tripped()
    metrics.WORKER_HELD_JOBS.set(held)
    metrics.WORKER_DRAINING.set(admission.draining)
    metrics.WORKER_MODELS.replace({(model,): 1 for model in models})
    metrics.WORKER_PAUSED.replace({(what,): what in tripped for what in (*models, STORE, MODERATION)})
    metrics.DEVICE_MEMORY_BYTES.replace(memory_bytes())


def report(
    owner: str,
    device: str,
    models: Sequence[str],
    held: int,
    admission: Admission,
    stalled: Collection[str],
    database_full: bool,
    address: str,
) -> WorkerReport:
    """What the worker says of itself in Redis; `device` is the configured one."""
    used, total = device_memory()
    return WorkerReport(
        owner=owner,
        models=list(models),
        device=device_name(device),
        held=held,
        closed=admission.tripped(),
        store=admission.store_breaker.reason,
        database_full=database_full,
        stalled=sorted(stalled),
        memory_used=used,
        memory_total=total,
        metrics=address,
        draining=admission.draining,
    )


def device_memory() -> tuple[int, int]:
    """Return the bytes that this process has allocated on its devices, and the bytes that they have; 0 if unknown."""
    sizes = memory_bytes()
    used, total = (sum(size for (_, kind), size in sizes.items() if kind == which) for which in ("allocated", "total"))
    return round(used), round(total)


def device_name(wanted: str) -> str:
    """Return the device's name for people: the configured one, or for `auto` the one that is used, such as `cpu`."""
    return ", ".join(sorted({device for device, _ in memory_bytes()})) if wanted == "auto" else wanted
