"""Waits for a job on behalf of a client that expects its pictures in the response, and reads them.

The doors of other services' clients share this. A client that hangs up only ends the wait: its job continues.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from limner_shared.db import queries
from limner_shared.domain.jobs import JobState
from limner_shared.domain.stored_errors import stored_error
from limner_shared.domain.views import ImageView, JobView
from limner_shared.errors import DeadlineExceeded, InvalidState
from limner_web.services import Services
from limner_web.updates.patience import HANG_UP_SECONDS
from limner_web.view_builders import job_view

WAIT_SECONDS: Final = 590.0
"""Less than the 600 seconds after which the openai package gives up."""


def look(services: Services, tenant_id: str, job_id: str) -> JobView:
    """The current view of a job. Raises NotFound."""
    with services.database.read() as session:
        return job_view(session, services.hints, queries.job(session, tenant_id, job_id))


def watch(
    services: Services, tenant_id: str, job_id: str, gone: Callable[[], bool], every: float = HANG_UP_SECONDS
) -> Iterator[JobView]:
    """Yield the job's view after each `every` seconds, at last when it has ended.

    A client that hangs up ends the wait, not the job. Raises DeadlineExceeded if the job has not ended within
    WAIT_SECONDS or the client has gone.
    """

    def view_now() -> JobView:
        return look(services, tenant_id, job_id)

    for view in services.watches.follow(tenant_id, job_id, WAIT_SECONDS, view_now, gone, every):
        yield view
        if view.status.terminal:
            return
    raise DeadlineExceeded(f"The image is not ready yet. Retrieve it later from /api/v1/jobs/{job_id}.")


def until(services: Services, tenant_id: str, job_id: str, seconds: float, gone: Callable[[], bool]) -> JobView:
    """The job's view once it has ended, `seconds` have passed or the client has gone."""
    return services.watches.await_end(tenant_id, job_id, seconds, lambda: look(services, tenant_id, job_id), gone)


def require_success(job: JobView) -> JobView:
    """Return a job that has succeeded. Raises the error that it failed with, or InvalidState if it was canceled."""
    if job.status is JobState.CANCELED:
        raise InvalidState("The job was canceled.", state=job.status)
    if job.status is not JobState.SUCCEEDED:
        code, message = (job.error.code, job.error.message) if job.error else ("", "The job failed.")
        raise stored_error(code, message)
    return job


def picture(services: Services, image: ImageView) -> bytes:
    """The stored file of a picture, a PNG. Raises NotFound once it was deleted, StorageFailed or Overloaded."""
    return services.storage.call(services.blobs.get, image.sha256)
