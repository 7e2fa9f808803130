"""Waits for a job on behalf of a client that expects its pictures in the response, and reads them.

The doors of other services' clients share this. A client that hangs up only ends the wait: its job continues, unless
its request has asked to cancel it then by the header `X-Cancel-On-Disconnect`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

from flask import request

from limner_shared.domain.jobs import JobState
from limner_shared.domain.stored_errors import stored_error
from limner_shared.domain.views import ImageView, JobView
from limner_shared.errors import DeadlineExceeded, InvalidRequest, InvalidState
from limner_shared.telemetry import get_logger
from limner_web.intake.cancellation import cancel_job
from limner_web.services import Services
from limner_web.serving.connection import hang_up_check
from limner_web.updates.waits import HANG_UP_SECONDS
from limner_web.view_builders import read_job_view

log = get_logger(__name__)

WAIT_SECONDS: Final = 590.0
"""Less than the 600 seconds after which the openai package gives up."""
DISCONNECT_HEADER: Final = "X-Cancel-On-Disconnect"


@dataclass(frozen=True, slots=True)
class WaitingClient:
    """The client that waits."""

    gone: Callable[[], bool]
    """Tells whether it has hung up."""
    cancels: bool = False
    """Whether its job is canceled if it hangs up first."""

    @classmethod
    def of_request(cls) -> Self:
        """The client of this request. Raises InvalidRequest."""
        asked = request.headers.get(DISCONNECT_HEADER, "false")
        if asked not in ("true", "false"):
            raise InvalidRequest(f"{DISCONNECT_HEADER}: use `true` or `false`.", field=DISCONNECT_HEADER)
        return cls(hang_up_check(), cancels=asked == "true")


def follow(
    services: Services, tenant_id: str, job_id: str, caller: WaitingClient, every: float = HANG_UP_SECONDS
) -> Iterator[JobView]:
    """Yield the job's view after each `every` seconds, at last when it has ended.

    A client that hangs up ends the wait, and its job if it has asked for that. Raises DeadlineExceeded if the job has
    not ended within WAIT_SECONDS or the client has gone.
    """

    def view_now() -> JobView:
        return read_job_view(services, tenant_id, job_id)

    try:
        for view in services.watches.follow(tenant_id, job_id, WAIT_SECONDS, view_now, caller.gone, every):
            yield view
            if view.status.terminal:
                return
    finally:  # also where the server closes the stream of a client that does not read it any more
        _end(services, tenant_id, job_id, caller)
    raise DeadlineExceeded(f"The image is not ready yet. Retrieve it later from /api/v1/jobs/{job_id}.")


def await_end(services: Services, tenant_id: str, job_id: str, seconds: float, caller: WaitingClient) -> JobView:
    """The job's view once it has ended, `seconds` have passed or the client has gone."""
    try:
        return services.watches.await_end(
            tenant_id, job_id, seconds, lambda: read_job_view(services, tenant_id, job_id), caller.gone
        )
    finally:
        _end(services, tenant_id, job_id, caller)


def _end(services: Services, tenant_id: str, job_id: str, caller: WaitingClient) -> None:
    """Cancel the job of a client that has gone, if it has asked for that and the job has not ended."""
    if caller.cancels and caller.gone():
        try:
            cancel_job(services, tenant_id, job_id)
        except Exception as error:  # noqa: BLE001 - the client is gone; its job runs to its end
            log.warning("job of a disconnected client not canceled", job=job_id, error=repr(error)[:200])


def require_success(job: JobView) -> JobView:
    """Return a job that has succeeded. Raises the error that it failed with, or InvalidState if it was canceled."""
    if job.status is JobState.CANCELED:
        raise InvalidState("The job was canceled.", state=job.status)
    if job.status is not JobState.SUCCEEDED:
        code, message = (job.error.code, job.error.message) if job.error else ("", "The job failed.")
        raise stored_error(code, message)
    return job


def stored_picture(services: Services, tenant_id: str, image: ImageView) -> bytes:
    """The stored file of a tenant's picture, a PNG.

    Raises NotFound if it was deleted, ObjectUnreadable, StorageFailed or Overloaded.
    """
    return services.storage.call_for(tenant_id, services.blobs.get_checked, image.sha256)
