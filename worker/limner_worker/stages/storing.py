"""From pixels to stored files: the pictures of several jobs are encoded one by one, and stored as a group."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from limner_shared.circuit_breaker import Breaker
from limner_shared.db.ledger import Result
from limner_shared.errors import LimnerError, StorageFailed, StorageFull
from limner_shared.storage.blobs import Blobs
from limner_shared.storage_failures import reason_of
from limner_shared.telemetry import get_logger
from limner_worker.engine.job_run import JobRun
from limner_worker.stages.deduplication import deduplication_keys
from limner_worker.stages.picture_files import PictureEncoder

log = get_logger(__name__)

RETRY_SECONDS: Final = 0.5
STORE_WAIT_SECONDS: Final = 60.0
"""If the picture store fails for longer than this, the held jobs are handed back instead of retried."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of an attempt. Without a result the job returns to the queue; `charged` counts a loss."""

    job: JobRun
    result: Result | None
    charged: bool = True


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A job's encoded pictures, and the result that is true once they are stored."""

    job: JobRun
    result: Result
    pictures: list[bytes]

    @property
    def outcome(self) -> Outcome:
        """The outcome of the attempt once the pictures are stored."""
        return Outcome(self.job, self.result)


class PictureStorage:
    """Stores the pictures of finished jobs. Safe for several threads."""

    def __init__(self, blobs: Blobs, breaker: Breaker, closing: threading.Event, encoder: PictureEncoder) -> None:
        """`breaker` is the store's circuit breaker; once `closing` is set, a failing store is not tried again."""
        self._encoder = encoder
        self._blobs = blobs
        self._breaker = breaker
        self._closing = closing

    def store(self, jobs: Sequence[tuple[JobRun, dict[str, Any]]]) -> list[Outcome]:
        """Store the pictures of these jobs, each given with the fingerprint of its model, and return the outcome of
        each job. A job that cannot be encoded fails alone.

        Waits while the store fails, for at most STORE_WAIT_SECONDS.
        """
        encoded = [self._encode(job, fingerprint) for job, fingerprint in jobs]
        failed = [each for each in encoded if isinstance(each, Outcome)]
        group = [each for each in encoded if isinstance(each, _Encoded)]
        results = self._encoder.review.add([(each.job, each.result) for each in group])
        return failed + self._put([replace(each, result=result) for each, result in zip(group, results, strict=True)])

    def _encode(self, job: JobRun, fingerprint: dict[str, Any]) -> _Encoded | Outcome:
        try:
            pictures, images = zip(*self._encoder.encode(job, fingerprint), strict=True)
            keys = deduplication_keys(job.claim, fingerprint) or [None] * len(images)
            images = [replace(image, deduplication_key=key) for image, key in zip(images, keys, strict=True)]
        except LimnerError as error:
            if error.is_awaited:
                log.error("pictures cannot be signed or judged", job=job.id, error=error.code, reason=error.message)
            return Outcome(job, Result(job.id, job.claim.attempt, error=error))
        except Exception:  # the attempt counts as lost, and the job is tried again
            log.exception("could not encode a picture", job=job.id)
            return Outcome(job, None)
        return _Encoded(job, Result(job.id, job.claim.attempt, images), list(pictures))

    def _put(self, group: Sequence[_Encoded]) -> list[Outcome]:
        if not group:
            return []
        while True:
            try:
                self._blobs.put_all([picture for each in group for picture in each.pictures])
            except (StorageFull, StorageFailed) as error:
                self._breaker.failed(reason_of(error))
                jobs = [each.job.id for each in group]
                log.warning("could not store pictures", jobs=jobs, error=error.code, reason=reason_of(error))
                if self._breaker.failing_seconds > STORE_WAIT_SECONDS or self._closing.wait(RETRY_SECONDS):
                    return [replace(each.outcome, result=None, charged=False) for each in group]
            except Exception:
                if len(group) > 1:  # only the job whose picture causes it may suffer
                    return [outcome for each in group for outcome in self._put([each])]
                log.exception("could not store a picture", job=group[0].job.id)
                return [replace(group[0].outcome, result=None)]
            else:
                self._breaker.succeeded()
                return [each.outcome for each in group]
