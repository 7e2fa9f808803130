"""Reads the file of a batch: each line as a call of the batch's endpoint, with the id that the client gave it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db.batches import NewLine
from limner_shared.db.ledger import NewJob
from limner_shared.domain.request_limits import refuse
from limner_shared.errors import InvalidRequest, LimnerError
from limner_web.http import strict_json
from limner_web.intake.bulk_reader import READ_BYTES, BadLine, BulkReader, Requested
from limner_web.intake.busy import wait_while_busy
from limner_web.intake.final_checks import check_and_store_inputs
from limner_web.openai.batch_calls import ENDPOINTS
from limner_web.services import Services


class Line(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    custom_id: str = Field(min_length=1, max_length=255)
    method: Literal["POST"]
    url: str
    body: dict[str, Any]


class BatchReader(BulkReader):
    """Reads one file once. Without a bad line so far, it keeps what the lines say beside their jobs until `take`."""

    def __init__(
        self, services: Services, tenant_id: str, endpoint: str, body: IO[bytes], keep: Callable[[], None]
    ) -> None:
        """`keep` is called before each line, because reading its pictures may take seconds."""
        settings = services.settings
        admitted = partial(check_and_store_inputs, services, tenant_id)
        super().__init__(body, services.catalogue, settings, admitted, max_line_bytes=settings.max_body_bytes)
        self._services = services
        self._tenant_id = tenant_id
        self._endpoint = endpoint
        self._keep = keep
        self._terms: Callable[[InvalidRequest], InvalidRequest] | None = None
        self._beside: dict[int, NewLine] = {}

    def take(self, jobs: Sequence[NewJob]) -> list[NewLine]:
        """What the lines of these jobs say beside them; each line once."""
        return [self._beside.pop(job.bulk_line or 0) for job in jobs]

    def _parse(self, number: int, text: bytes) -> NewJob:
        return wait_while_busy(partial(super()._parse, number, text), keep=self._keep)

    def _request(self, number: int, text: bytes) -> Requested:
        self._terms = None
        line = Line.model_validate(strict_json.loads(text))
        if line.url != self._endpoint:
            raise refuse("url", repr(line.url[:80]), f"{self._endpoint}, the endpoint of this batch")
        call = ENDPOINTS[self._endpoint].read(self._services, self._tenant_id, line.body)
        self._terms = call.terms
        if self._queues:
            self._beside[number] = NewLine(number, line.custom_id, call.form, call.items)
        return Requested(call.request, call.turns)

    def _bad_line(self, number: int, error: LimnerError) -> BadLine:
        known = self._terms(error) if self._terms is not None and isinstance(error, InvalidRequest) else error
        return super()._bad_line(number, known)


class _Parts(io.RawIOBase):
    def __init__(self, parts: Iterator[bytes]) -> None:
        super().__init__()
        self._parts = parts
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def body_of(parts: Iterator[bytes]) -> IO[bytes]:
    """The parts of a file as one stream."""
    return io.BufferedReader(_Parts(parts), READ_BYTES)
