"""Reads the file of a batch: each line's body as a call of `images.generate`, with the id that the client gave it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from functools import partial
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db.batches import NewLine
from limner_shared.db.ledger import NewJob
from limner_shared.domain.card_fields import refuse
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import InvalidRequest, LimnerError
from limner_web import strict_json
from limner_web.intake.admission import admit
from limner_web.intake.bulk_reader import READ_BYTES, BadLine, BulkReader
from limner_web.openai.image_order import in_openai_terms, read_order
from limner_web.services import Services


class Line(BaseModel):
    """A line of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    custom_id: str = Field(min_length=1, max_length=255)
    method: Literal["POST"]
    url: Literal["/v1/images/generations"]
    body: dict[str, Any]


class BatchReader(BulkReader):
    """Reads one file once. Without a bad line so far, it keeps what the lines say beside their jobs until `take`."""

    def __init__(self, services: Services, tenant_id: str, body: IO[bytes]) -> None:
        super().__init__(body, services.catalogue, services.settings, partial(admit, services, tenant_id))
        self._names = services.model_names
        self._beside: dict[int, NewLine] = {}

    def take(self, jobs: Sequence[NewJob]) -> list[NewLine]:
        """What the lines of these jobs say beside them; each line once."""
        return [self._beside.pop(job.bulk_line or 0) for job in jobs]

    def _request(self, number: int, text: bytes) -> JobRequest:
        line = Line.model_validate(strict_json.loads(text))
        order = read_order(line.body, self._names)
        if order.output.stream:
            raise refuse("stream", "a stream in a batch", "no stream")
        if not self._bad:  # after a bad line, nothing is stored any more
            self._beside[number] = NewLine(number, line.custom_id, asdict(order.output))
        return order.request

    def _bad_line(self, number: int, error: LimnerError) -> BadLine:
        known = in_openai_terms(error, self._names) if isinstance(error, InvalidRequest) else error
        return super()._bad_line(number, known)


class _Parts(io.RawIOBase):
    def __init__(self, parts: Iterator[bytes], before_read: Callable[[], None]) -> None:
        super().__init__()
        self._parts = parts
        self._before_read = before_read
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._before_read()
        while not self._rest:
            part = next(self._parts, None)
            if part is None:
                return 0
            self._rest = memoryview(part)
        size = min(len(buffer), len(self._rest))
        buffer[:size], self._rest = self._rest[:size], self._rest[size:]
        return size


def body_of(parts: Iterator[bytes], before_read: Callable[[], None]) -> IO[bytes]:
    """The parts of a file as one stream; `before_read` is called before each 64 KiB."""
    return io.BufferedReader(_Parts(parts, before_read), READ_BYTES)
