"""Starts rows, some of them from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence

from limner_shared.telemetry import get_logger
from limner_worker.engine.job_run import Row
from limner_worker.generators import device_faults
from limner_worker.generators.base import Generator

log = get_logger(__name__)


def start(generator: Generator, rows: Sequence[Row]) -> None:
    """Start rows; a single row whose checkpoint cannot be read starts from its first step."""
    try:
        _start(generator, rows)
    except Exception as error:
        if len(rows) > 1 or rows[0].task.checkpoint is None or device_faults.is_device_broken(error):
            raise
        log.warning("cannot resume from a checkpoint", job=rows[0].job.id, error=repr(error)[:200])
        rows[0].restart()
        _start(generator, rows)


def _start(generator: Generator, rows: Sequence[Row]) -> None:
    for row, state in zip(rows, generator.start([row.task for row in rows]), strict=True):
        row.state = state
        row.task.checkpoint = None  # the state holds it now
        row.checkpointed_at = time.monotonic()
