"""Reading a bulk: JSONL from a stream to checked jobs, line by line, in constant memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from pydantic import ValidationError

from limner_shared.cards import Catalogue
from limner_shared.errors import BadBulk, BodyTooLarge, LimnerError
from limner_shared.jobs import JobRequest, JobSpec, Priority
from limner_shared.ledger import NewJob
from limner_shared.settings import Settings
from limner_web.problems import from_validation

MAX_ERRORS = 100
"""So many bad lines are told; whoever has more has made the same mistake often."""
MAX_LINE_BYTES = 64 << 10
READ_BYTES = 64 << 10
LINES_A_TURN = 50


@dataclass(frozen=True, slots=True)
class BadLine(Exception):
    """One line that cannot be accepted."""

    line: int
    field: str | None
    message: str


class BulkReader:
    """One body, read once. `lines` counts the jobs so far, and `digest` is the whole body's once it is read."""

    def __init__(
        self, body: IO[bytes], catalogue: Catalogue, settings: Settings, store_inputs: Callable[[JobSpec], JobSpec]
    ) -> None:
        """`store_inputs` is called with each job; see `inputs.Inputs`."""
        self._store_inputs = store_inputs
        self._body = body
        self._catalogue = catalogue
        self._settings = settings
        self._hash = hashlib.sha256()
        self._errors: list[dict[str, Any]] = []
        self.lines = 0

    @property
    def digest(self) -> str:
        """SHA-256 in hex of what was read."""
        return self._hash.hexdigest()

    def skip(self) -> None:
        """Read to the end for the digest alone. Raises BodyTooLarge."""
        for _ in self._chunks():
            continue

    def jobs(self) -> Iterator[NewJob]:
        """The job of each line. After the first bad line no more, but all are checked.

        Raises BadBulk at the end, with every bad line, or BodyTooLarge.
        """
        for number, text in self._numbered():
            self.lines += 1
            if self.lines % LINES_A_TURN == 0:
                time.sleep(0)  # checking lines waits for nothing: other requests have a turn here
            if self.lines > self._settings.max_bulk_lines:
                raise BadBulk(f"A bulk may have at most {self._settings.max_bulk_lines} lines.")
            try:
                job = self._parse(number, text)
            except BadLine as bad:
                self._errors.append({"line": bad.line, "field": bad.field, "message": bad.message})
                if len(self._errors) == MAX_ERRORS:
                    break
            else:
                if not self._errors:
                    yield job
        self._check()

    def _check(self) -> None:
        if self._errors:
            first = self._errors[0]
            raise BadBulk(
                f"{len(self._errors)} lines cannot be accepted, so nothing was queued;"
                f" line {first['line']}: {first['message']}",
                errors=self._errors,
            )
        if not self.lines:
            raise BadBulk("The bulk is empty: send one JSON object a line.")

    def _chunks(self) -> Iterator[bytes]:
        size = 0
        while chunk := self._body.read(READ_BYTES):
            size += len(chunk)
            if size > self._settings.max_bulk_bytes:
                raise BodyTooLarge(f"A bulk may have at most {self._settings.max_bulk_bytes} bytes.")
            self._hash.update(chunk)
            yield chunk

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        number, rest = 0, b""
        for chunk in self._chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            for text in whole:
                number += 1
                if text.strip():
                    yield number, _checked(number, text)
            _checked(number + 1, rest)
        if rest.strip():
            yield number + 1, rest

    def _parse(self, number: int, text: bytes) -> NewJob:
        try:
            request = JobRequest.model_validate_json(text)
            card, spec = self._catalogue.resolve(request)
            spec = self._store_inputs(spec)
        except ValidationError as error:
            first = from_validation(error).details["errors"][0]
            raise BadLine(number, first["field"] or None, first["message"]) from error
        except LimnerError as error:
            raise BadLine(number, error.details.get("field"), error.message) from error
        priority = request.priority or Priority.LOW
        return NewJob(spec, card.cost(spec), priority, request.metadata, number, request.expires_in)


def _checked(number: int, text: bytes) -> bytes:
    if len(text) > MAX_LINE_BYTES:
        message = f"a line may have at most {MAX_LINE_BYTES} bytes"
        raise BadBulk(f"Line {number}: {message}.", errors=[{"line": number, "field": None, "message": message}])
    return text
