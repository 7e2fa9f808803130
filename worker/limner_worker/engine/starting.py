"""Starts rows, some of them from a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from limner_shared.telemetry import get_logger
from limner_worker.engine.job_run import Row
from limner_worker.generators import device_faults
from limner_worker.generators.base import Generator

log = get_logger(__name__)


def start(generator: Generator, rows: Sequence[Row]) -> None:
    """Start rows; one whose checkpoint cannot be read or resumed from starts from its first step."""
    resumed = [row for row in rows if row.task.checkpoint is not None]
    try:
        _start(generator, rows)
    except Exception as error:
        if len(rows) > 1 or not resumed or device_faults.is_device_broken(error):
            raise
        _discard_checkpoint(rows[0], error)
        _start(generator, rows)
    else:
        for row in resumed:
            _start_over_if_failed(generator, row)


def _start(generator: Generator, rows: Sequence[Row]) -> None:
    for row in rows:
        copies = {"buckets": [*row.task.buckets], "places": [*row.task.places]}
        may_resume = row.task.checkpoint is not None and row.task.replay is None  # whose sizes the start may consume
        row.resumes = replace(row.task, **copies) if may_resume else None
    for row, state in zip(rows, generator.start([row.task for row in rows]), strict=True):
        row.state = state
        row.task.checkpoint = None  # the state holds it now
        row.checkpointed_at = time.monotonic()


def _start_over_if_failed(generator: Generator, row: Row) -> None:
    """Start a row again whose earlier steps raised when they were skipped: its pipeline may need what they computed.

    If that raises too, the row keeps the state with the first error, and fails with it.
    """
    failed, error = row.state, row.state.error
    if error is None or device_faults.is_device_broken(error) or device_faults.is_out_of_memory(error):
        return
    _discard_checkpoint(row, error)
    try:
        _start(generator, [row])
    except Exception as again:
        if device_faults.is_device_broken(again):
            raise
        log.warning("cannot start over", job=row.job.id, error=repr(again)[:200])
    else:
        failed.close()


def _discard_checkpoint(row: Row, error: Exception) -> None:
    log.warning("cannot resume from a checkpoint", job=row.job.id, error=repr(error)[:200])
    row.restart()
