"""Metrics of device calls."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager

from limner_shared import metrics
from limner_worker.engine.job_run import Row


def encoding(model: str) -> AbstractContextManager[None]:
    """Return a context that records the start of rows: text encoding and noise."""
    return metrics.ENCODE_SECONDS.time(model=model)


def record_step(rows: Sequence[Row], seconds: float) -> None:
    """Record one step of a batch."""
    model, buckets = rows[0].job.claim.spec.model, rows[0].task.buckets
    metrics.STEP_SECONDS.observe(seconds, model=model)
    metrics.BATCH_ROWS.observe(len(rows), model=model)
    metrics.ROW_STEPS.inc(len(rows), model=model)
    if buckets and buckets[-1] > len(rows):
        metrics.PADDING_ROW_STEPS.inc(buckets[-1] - len(rows), model=model)


def record_decode(rows: Sequence[Row], seconds: float) -> None:
    """Record the decoding of one batch."""
    metrics.DECODE_SECONDS.observe(seconds, model=rows[0].job.claim.spec.model)
