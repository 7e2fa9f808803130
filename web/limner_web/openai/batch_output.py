"""The output of a batch. It is made of the batch's jobs each time that it is read, so that no picture is stored twice.

A request that succeeded is a line of the output, every other one a line of the errors.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any, Final

from pydantic import ValidationError

from limner_shared.db import batches
from limner_shared.db.batch_tables import Batch, BatchLine
from limner_shared.db.queries import Shown
from limner_shared.db.tables import Image
from limner_shared.db.views import plain_view
from limner_shared.domain.batches import BatchState
from limner_shared.domain.jobs import JobState
from limner_shared.domain.stored_errors import stored_error
from limner_shared.errors import LimnerError, NotFound, ObjectUnreadable, UnreadableJob
from limner_web.http.problems import openai_error
from limner_web.intake.busy import wait_while_busy
from limner_web.openai.batch_calls import ENDPOINTS
from limner_web.openai.image_answer import Encode, Finished, encoded
from limner_web.openai.image_order import Output
from limner_web.services import Services

PAGE: Final = 200
DELETED: Final = {"code": "gone", "message": "The picture was deleted."}
CANCELLED: Final = {"code": "request_cancelled", "message": "The request was cancelled."}
STOPPED: Final[dict[str, dict[str, str]]] = {
    BatchState.CANCELLED: {"code": "batch_cancelled", "message": "The batch was cancelled before this request ran."},
    BatchState.EXPIRED: {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    },
}


def read(services: Services, row: Batch, *, errors: bool, gone: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the lines of the output, or of the errors, until the client has hung up. One page of rows and one answer
    are in memory.

    Raises StorageFailed, SigningFailed or Overloaded where a picture cannot be read or converted now.
    """
    encode = partial(_encoded, services, row.tenant_id)
    return (line for _, line in _lines(services, row, (errors,), encode, gone))


def measure(services: Services, row: Batch, keep: Callable[[], None]) -> batches.Output:
    """The sizes of the output and of the errors. Pictures that are answered as they are stored are not read.

    `keep` is called after each line, and before each try to read a picture.
    """
    sizes = {False: 0, True: 0}
    encode = _Measured(services, row.tenant_id, keep)
    for is_error, line in _lines(services, row, (False, True), encode, lambda: False):
        sizes[is_error] += len(line)
        keep()
    return batches.Output(sizes[False] + encode.left_out, sizes[True])


class _Measured:
    """Leaves out pictures whose size is known, and counts what they would add."""

    def __init__(self, services: Services, tenant_id: str, keep: Callable[[], None]) -> None:
        self._services = services
        self._tenant_id = tenant_id
        self._keep = keep
        self.left_out = 0

    def __call__(self, output: Output, image: Image) -> str:
        if not output.as_stored:
            return _encoded(self._services, self._tenant_id, output, image, self._keep)
        self.left_out += 4 * -(-image.size_bytes // 3)  # as base64
        return ""


def _encoded(
    services: Services, tenant_id: str, output: Output, image: Image, keep: Callable[[], None] = lambda: None
) -> str:
    return wait_while_busy(partial(encoded, services, tenant_id, output, image), keep=keep)


def _lines(
    services: Services, row: Batch, kinds: Collection[bool], encode: Encode, gone: Callable[[], bool]
) -> Iterator[tuple[bool, bytes]]:
    """Yield the lines of these kinds, each with whether it is an error."""
    after, bulk_id = 0, row.bulk_id or ""
    while not gone():
        with services.database.read() as session:
            page = batches.line_page(session, bulk_id, after, PAGE)
        for line, shown in page:
            succeeded = shown is not None and shown.job.state == JobState.SUCCEEDED
            if (not succeeded) in kinds:
                told = _success(services, row, line, shown, encode) if shown and succeeded else _failure(row, shown)
                job_id = shown.job.id if shown else f"{bulk_id}_{line.line}"
                whole = {"id": f"batch_req_{job_id.partition('_')[2]}", "custom_id": line.custom_id} | told
                yield not succeeded, json.dumps(whole).encode() + b"\n"
        if len(page) < PAGE:
            return
        after = page[-1][0].line
        time.sleep(0)  # yields to the server's other greenlets


def _address(origin: str, image: Image) -> str:
    """A URL that needs a key: a link's bytes differ at each reading, and those of a file must not."""
    return f"{origin}/api/v1/images/{image.id}"


def _success(services: Services, row: Batch, line: BatchLine, shown: Shown, encode: Encode) -> dict[str, Any]:
    job = plain_view(shown)
    finished = Finished(job, shown.images, shown.job.cost)
    if len(shown.images) < job.n:
        return _told(error=DELETED)
    try:
        address = partial(_address, row.origin)
        body = ENDPOINTS[row.endpoint].answer(services, line.output, finished, address, encode)
    except NotFound:
        return _told(error=DELETED)
    except ObjectUnreadable as error:
        return _told(error=_error(error))
    except ValidationError:
        return _told(error=_error(UnreadableJob()))
    warning = {"warning": line.output["warning"]} if line.output.get("warning") else {}
    return _told({"status_code": 200, "request_id": job.id, "body": body} | warning)


def _failure(row: Batch, shown: Shown | None) -> dict[str, Any]:
    if shown is None:
        return _told(error={"code": "gone", "message": "The job was deleted."})
    if shown.job.state == JobState.CANCELED:
        return _told(error=STOPPED.get(row.outcome or "", CANCELLED))
    error = stored_error(shown.job.error_code or "", shown.job.error_message or "The job failed.")
    body = {"error": openai_error(error.status, error.code, error.message, error.details)}
    return _told({"status_code": error.status, "request_id": shown.job.id, "body": body})


def _told(response: dict[str, Any] | None = None, error: dict[str, str] | None = None) -> dict[str, Any]:
    return {"response": response, "error": error}


def _error(error: LimnerError) -> dict[str, str]:
    return {"code": error.code, "message": error.message}
