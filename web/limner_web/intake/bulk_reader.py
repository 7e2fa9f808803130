"""Reads a bulk: turns a stream of JSON Lines into checked jobs, line by line, in constant memory."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, NamedTuple, Protocol

from pydantic import ValidationError

from limner_shared.db.ledger import NewJob, UniqueHold
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.conditions import Turn
from limner_shared.domain.jobs import JobRequest, JobSpec, Priority
from limner_shared.domain.webhook_targets import Targets
from limner_shared.errors import BadBulk, BodyTooLarge, LimnerError
from limner_shared.settings import Settings
from limner_web.http import strict_json
from limner_web.http.problems import from_validation
from limner_web.http.request_bodies import BROKEN_BODY, cut_off
from limner_web.intake.scheduling import retry_limit, start_time
from limner_web.intake.webhooks import job_webhook
from limner_web.limits import MAX_BULK_ERRORS, MAX_BULK_LINE_BYTES

READ_BYTES: Final = 64 << 10
BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
"""What some programs for Windows begin a text in UTF-8 with; it says nothing."""
YIELD_LINES: Final = 50
"""Lines that are checked before other greenlets may run."""


@dataclass(frozen=True, slots=True)
class BadLine(Exception):
    """A line that cannot be accepted."""

    line: int
    field: str | None
    message: str


class Requested(NamedTuple):
    """What a line asks for, and the earlier turns of its conversation, the oldest first."""

    request: JobRequest
    turns: tuple[Turn, ...] = ()


class Finish(Protocol):
    """The last checks of a job; see `final_checks.check_and_store_inputs`."""

    def __call__(self, spec: JobSpec, *, store: bool) -> JobSpec:
        """Return the job as it is queued, with its input pictures stored if `store`."""
        ...


class BulkReader:
    """Reads one body once. `lines` counts the non-empty lines read so far."""

    def __init__(
        self,
        body: IO[bytes],
        catalogue: Catalogue,
        settings: Settings,
        finish: Finish,
        *,
        length: int | None = None,
        skip_bad: bool = False,
        max_line_bytes: int = MAX_BULK_LINE_BYTES,
    ) -> None:
        """`finish` is called with each job.

        `length` is the size in bytes that the client declared, if it did. With `skip_bad`, bad lines are left out.
        """
        self._length = length
        self._skip_bad = skip_bad
        self._max_line_bytes = max_line_bytes
        self._finish = finish
        self._body = body
        self._catalogue = catalogue
        self._settings = settings
        self._targets = Targets.parse(settings.webhook_internal_targets)
        self._hash = hashlib.sha256()
        self._errors: list[dict[str, Any]] = []
        self._bad = 0
        self.lines = 0

    @property
    def digest(self) -> str:
        """SHA-256 in hex of the bytes read so far."""
        return self._hash.hexdigest()

    @property
    def accepted(self) -> int:
        """How many of the lines read so far are valid jobs."""
        return self.lines - self._bad

    @property
    def _queues(self) -> bool:
        """Whether the next line's job is queued: without `skip_bad`, none after a bad line is."""
        return self._skip_bad or not self._bad

    @property
    def skipped(self) -> dict[str, Any] | None:
        """The number of bad lines and the errors of the first of them; None if there are none."""
        return {"count": self._bad, "errors": self._errors} if self._bad else None

    def skip(self) -> None:
        """Read to the end for the digest alone. Raises BodyTooLarge or MalformedBody."""
        for _ in self._chunks():
            continue

    def jobs(self) -> Iterator[NewJob | None]:
        """Yield the job of each valid line, and None after each part of the body, so that the caller has its turn also
        while a slow client sends no valid line. Without `skip_bad`, no job follows the first bad line.

        Raises BadBulk at the end, with the number of bad lines and the errors of the first; BodyTooLarge;
        MalformedBody for a body that is cut off; or an error that passes, such as StorageFailed, which says nothing
        about its line.
        """
        for each in self._numbered():
            if each is None:
                yield None
                continue
            number, text = each
            self.lines += 1
            if self.lines % YIELD_LINES == 0:
                time.sleep(0)  # parsing never waits, so other greenlets run here
            if self.lines > self._settings.max_bulk_lines:
                raise BadBulk(f"A bulk may have at most {self._settings.max_bulk_lines} lines. Split it into several.")
            try:
                job = self._parse(number, text)
            except BadLine as bad:
                self._bad += 1
                if self._bad <= MAX_BULK_ERRORS:
                    self._errors.append({"line": bad.line, "field": bad.field, "message": bad.message})
            else:
                if self._queues:
                    yield job
        self._check()

    def _check(self) -> None:
        if not self.lines:
            raise BadBulk("The bulk is empty. Send one JSON object per line.")
        if self._bad and not (self._skip_bad and self.accepted):
            first = self._errors[0]
            lines = "1 line" if self._bad == 1 else f"{self._bad} lines"
            raise BadBulk(
                f"{lines} of {self.lines} cannot be accepted, so nothing was queued."
                f" Line {first['line']}: {first['message']}",
                errors=self._errors,
                bad_lines=self._bad,
            )

    def _chunks(self) -> Iterator[bytes]:
        size = 0
        while chunk := self._read(size):
            size += len(chunk)
            if size > self._settings.max_bulk_bytes:
                raise BodyTooLarge(
                    f"A bulk may have at most {self._settings.max_bulk_bytes} bytes. Split it into several."
                )
            self._hash.update(chunk)
            yield chunk
        if self._length is not None and size != self._length:
            raise cut_off(size, self._length)

    def _read(self, size: int) -> bytes:
        try:
            return self._body.read(READ_BYTES)
        except BROKEN_BODY as error:
            raise cut_off(size, self._length) from error

    def _numbered(self) -> Iterator[tuple[int, bytes] | None]:
        """The lines that are not empty, each with its number, and None after each part of the body."""
        number, line = 0, bytearray()
        for chunk in self._chunks():
            for place, part in enumerate(chunk.split(b"\n")):
                if place:  # a line has ended
                    number += 1
                    if line.strip():
                        yield number, _without_mark(number, line)
                    line.clear()
                line += part[: self._max_line_bytes + 1 - len(line)]  # enough to see that the line is too long
            yield None
        if line.strip():
            yield number + 1, _without_mark(number + 1, line)

    def _request(self, number: int, text: bytes) -> Requested:
        """What a line asks for. Raises BadLine, ValidationError, or a LimnerError."""
        return Requested(JobRequest.model_validate(strict_json.loads(text)))

    def _bad_line(self, number: int, error: LimnerError) -> BadLine:
        return BadLine(number, error.details.get("field"), error.message)

    def _parse(self, number: int, text: bytes) -> NewJob:
        if len(text) > self._max_line_bytes:
            raise BadLine(number, None, f"a line may have at most {self._max_line_bytes} bytes")
        try:
            request, turns = self._request(number, text)
            card, spec = self._catalogue.resolve(request)
            retries, start = retry_limit(card, request), start_time(request, time.time())
            webhook = job_webhook(self._targets, request)
            spec = spec.model_copy(update={"history": turns}) if turns else spec
            spec = self._finish(spec, store=self._queues)
        except ValidationError as error:
            first = from_validation(error).details["errors"][0]
            raise BadLine(number, first["field"] or None, first["message"]) from error
        except LimnerError as error:
            if error.retryable:
                raise
            raise self._bad_line(number, error) from error
        priority = request.priority or Priority.LOW
        return NewJob(
            spec,
            card.cost(spec),
            priority,
            request.metadata,
            number,
            request.expires_in,
            not_before=start,
            max_retries=retries,
            webhook=webhook,
            unique=None if request.unique is None else UniqueHold(request.unique),
        )


def _without_mark(number: int, line: bytearray) -> bytes:
    return bytes(line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line)
