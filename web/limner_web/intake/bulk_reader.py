"""Reading a bulk: JSONL from a stream to checked jobs, line by line, in constant memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

from pydantic import ValidationError

from limner_shared.db.ledger import NewJob
from limner_shared.domain.cards import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec, Priority
from limner_shared.errors import BadBulk, BodyTooLarge, LimnerError
from limner_shared.settings import Settings
from limner_web import strict_json
from limner_web.problems import from_validation
from limner_web.request_checks import BROKEN_BODY, cut_off

MAX_ERRORS = 100
"""So many bad lines are told; of more, their number."""
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
        self,
        body: IO[bytes],
        catalogue: Catalogue,
        settings: Settings,
        store_inputs: Callable[[JobSpec], JobSpec],
        *,
        length: int | None = None,
        skip_bad: bool = False,
    ) -> None:
        """`store_inputs` is called with each job; see `inputs.Inputs`.

        `length` is how many bytes the client said it would send, if it said so. With `skip_bad`, bad lines are left
        out.
        """
        self._length = length
        self._skip_bad = skip_bad
        self._store_inputs = store_inputs
        self._body = body
        self._catalogue = catalogue
        self._settings = settings
        self._hash = hashlib.sha256()
        self._errors: list[dict[str, Any]] = []
        self._bad = 0
        self.lines = 0

    @property
    def digest(self) -> str:
        """SHA-256 in hex of what was read."""
        return self._hash.hexdigest()

    @property
    def accepted(self) -> int:
        """How many lines are jobs."""
        return self.lines - self._bad

    @property
    def skipped(self) -> dict[str, Any] | None:
        """How many lines were left out, and what is wrong with the first of them; None if none were."""
        return {"count": self._bad, "errors": self._errors} if self._bad else None

    def skip(self) -> None:
        """Read to the end for the digest alone. Raises BodyTooLarge."""
        for _ in self._chunks():
            continue

    def jobs(self) -> Iterator[NewJob]:
        """The job of each line, bad ones left out. Unless those are to be skipped, no more jobs come after the first.

        Raises BadBulk at the end, with the first bad lines and their number, or BodyTooLarge, or MalformedBody for a
        body that is cut off.
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
                self._bad += 1
                if self._bad <= MAX_ERRORS:
                    self._errors.append({"line": bad.line, "field": bad.field, "message": bad.message})
            else:
                if self._skip_bad or not self._bad:
                    yield job
        self._check()

    def _check(self) -> None:
        if not self.lines:
            raise BadBulk("The bulk is empty: send one JSON object a line.")
        if self._bad and not (self._skip_bad and self.accepted):
            first = self._errors[0]
            lines = "1 line" if self._bad == 1 else f"{self._bad} lines"
            raise BadBulk(
                f"{lines} of {self.lines} cannot be accepted, so nothing was queued;"
                f" line {first['line']}: {first['message']}",
                errors=self._errors,
                bad_lines=self._bad,
            )

    def _chunks(self) -> Iterator[bytes]:
        size = 0
        while chunk := self._read(size):
            size += len(chunk)
            if size > self._settings.max_bulk_bytes:
                raise BodyTooLarge(f"A bulk may have at most {self._settings.max_bulk_bytes} bytes.")
            self._hash.update(chunk)
            yield chunk
        if self._length is not None and size != self._length:
            raise cut_off(size, self._length)

    def _read(self, size: int) -> bytes:
        try:
            return self._body.read(READ_BYTES)
        except BROKEN_BODY as error:
            raise cut_off(size, self._length) from error

    def _numbered(self) -> Iterator[tuple[int, bytes]]:
        number, rest = 0, b""
        for chunk in self._chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            for text in whole:
                number += 1
                if text.strip():
                    yield number, text
            rest = rest[: MAX_LINE_BYTES + 1]  # as much as shows that it is too long
        if rest.strip():
            yield number + 1, rest

    def _parse(self, number: int, text: bytes) -> NewJob:
        if len(text) > MAX_LINE_BYTES:
            raise BadLine(number, None, f"a line may have at most {MAX_LINE_BYTES} bytes")
        try:
            request = JobRequest.model_validate(strict_json.loads(text))
            card, spec = self._catalogue.resolve(request)
            spec = self._store_inputs(spec)
        except ValidationError as error:
            first = from_validation(error).details["errors"][0]
            raise BadLine(number, first["field"] or None, first["message"]) from error
        except LimnerError as error:
            raise BadLine(number, error.details.get("field"), error.message) from error
        priority = request.priority or Priority.LOW
        return NewJob(spec, card.cost(spec), priority, request.metadata, number, request.expires_in)
