"""Previews and checkpoints of unfinished rows. Both are optional: if one fails, the row goes on without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from limner_shared.telemetry import get_logger
from limner_worker.engine.job_run import JobRun, Row
from limner_worker.engine.listener import EngineListener
from limner_worker.generators.base import Generator

log = get_logger(__name__)

PREVIEW_SECONDS: Final = 0.7
"""Interval between two previews of a job."""


class Snapshots:
    """Takes previews and checkpoints of rows at their intervals. For the engine's thread."""

    def __init__(
        self, listener: EngineListener, generator_of: Callable[[Row], Generator], checkpoint_seconds: float
    ) -> None:
        """`checkpoint_seconds` is the interval between two checkpoints of a row."""
        self._listener = listener
        self._generator_of = generator_of
        self._checkpoint_seconds = checkpoint_seconds

    def preview_if_due(self, row: Row, now: float) -> None:
        """Report a preview of a job's first image, if one is wanted and the last one is old enough."""
        if not row.job.preview_wanted or row.index != 0 or now - row.previewed_at < PREVIEW_SECONDS:
            return
        row.previewed_at = now
        try:
            picture = self._generator_of(row).preview(row.state)
        except Exception as error:  # noqa: BLE001 - the finished picture may still be good
            log.warning("preview failed", job=row.job.id, error=repr(error)[:200])
            return
        if picture is not None:
            self._listener.previewed(row.job, picture)

    def checkpoint_if_due(self, row: Row, now: float) -> None:
        """Report a checkpoint of an unfinished row if the last one is old enough."""
        if row.finished or now - row.checkpointed_at < self._checkpoint_seconds:
            return
        row.checkpointed_at = now
        self._report(row, _checkpoint(row))

    def keep(self, decoded: Sequence[Row]) -> None:
        """Before rows are decoded: keep the checkpoints of those whose jobs have further images to generate."""
        together = {id(row) for row in decoded}
        for row in decoded:
            if any(other.drawn is None and id(other) not in together for other in row.job.rows):
                checkpoint = _checkpoint(row)
                buckets, places = [*row.task.buckets], [*row.task.places]
                row.decoded_from = None if checkpoint is None else (checkpoint, buckets, places)

    def checkpoint(self, job: JobRun) -> None:
        """Report a checkpoint of each image of a job that is suspended."""
        for row in job.rows:
            if row.decoded_from is None:
                self._report(row, _checkpoint(row))
            else:
                checkpoint, row.task.buckets, row.task.places = row.decoded_from
                self._report(row, checkpoint)

    def _report(self, row: Row, checkpoint: bytes | None) -> None:
        if checkpoint is not None:
            self._listener.checkpointed(row.job, row.index, checkpoint)


def _checkpoint(row: Row) -> bytes | None:
    """The checkpoint of a row's state; None if it has none, or cannot be made."""
    try:
        return None if row.state is None else row.state.checkpoint()
    except Exception as error:  # noqa: BLE001 - a pipeline's scheduler may hold state that cannot be serialised
        log.warning("checkpoint failed", job=row.job.id, error=repr(error)[:200])
        return None
