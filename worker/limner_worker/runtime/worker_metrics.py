"""The figures of a worker that are measured when they are read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from limner_shared import metrics
from limner_worker.generators.device_memory import memory_bytes


def measure(held: int, models: Sequence[str], paused: Collection[str]) -> None:
    """Set the gauges: the number of held jobs, the models served, and those that are paused."""
    metrics.WORKER_HELD_JOBS.set(held)
    metrics.WORKER_MODELS.replace({(model,): 1 for model in models})
    metrics.WORKER_PAUSED.replace({(what,): what in paused for what in (*models, "store")})
    metrics.DEVICE_MEMORY_BYTES.replace(memory_bytes())


def device_memory() -> tuple[int, int]:
    """Return the bytes that this process has allocated on its devices, and the bytes that they have; 0 if unknown."""
    sizes = memory_bytes()
    used, total = (sum(size for (_, kind), size in sizes.items() if kind == which) for which in ("allocated", "total"))
    return round(used), round(total)


def device_name(wanted: str) -> str:
    """Return the device's name for people: the configured one, or for `auto` the one that is used, such as `cpu`."""
    return ", ".join(sorted({device for device, _ in memory_bytes()})) if wanted == "auto" else wanted
