"""Metrics and traces of device calls."""

from __future__ import annotations

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager

from limner_shared import metrics, tracing
from limner_worker.engine.attempt_trace import BATCH_ROWS, AttemptTrace, stage_of
from limner_worker.engine.job_run import Row


@contextmanager
def encoding(model: str, rows: Sequence[Row]) -> Generator[None]:
    """Record the start of rows: text encoding and noise."""
    started = tracing.clock()
    try:
        with metrics.ENCODE_SECONDS.time(model=model):
            yield
    finally:
        stage_of(_traces(rows), "encode", started, {BATCH_ROWS: len(rows)})


def record_step(rows: Sequence[Row], seconds: float) -> None:
    """Record one step of a batch. A scene takes a row for each of its drawings."""
    model, buckets = rows[0].job.claim.spec.model, rows[0].task.buckets
    taken = sum(1 if row.task.scene is None else sum(row.task.scene.drawings) for row in rows)
    metrics.STEP_SECONDS.observe(seconds, model=model)
    metrics.BATCH_ROWS.observe(taken, model=model)
    metrics.ROW_STEPS.inc(taken, model=model)
    if buckets and buckets[-1] > taken:
        metrics.PADDING_ROW_STEPS.inc(buckets[-1] - taken, model=model)
    for trace in _traces(rows):
        trace.stepped(seconds, len(rows))


def record_decode(rows: Sequence[Row], seconds: float) -> None:
    """Record the decoding of one batch."""
    metrics.DECODE_SECONDS.observe(seconds, model=rows[0].job.claim.spec.model)
    for trace in _traces(rows):
        trace.decoded(seconds, len(rows))


def _traces(rows: Sequence[Row]) -> Collection[AttemptTrace]:
    """The traces of the jobs that have rows in a call, each once."""
    if not tracing.enabled():
        return ()
    return {id(row.job): row.job.trace for row in rows if row.job.trace is not None}.values()
