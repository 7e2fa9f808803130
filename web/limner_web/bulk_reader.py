"""Reading a bulk: JSONL from a stream to a file of checked lines, in constant memory, all or nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any

from pydantic import ValidationError

from limner_shared.cards import Catalogue
from limner_shared.errors import BadBulk, BodyTooLarge, LimnerError
from limner_shared.jobs import JobRequest, Priority
from limner_shared.ledger import NewJob
from limner_shared.settings import Settings
from limner_web.problems import from_validation

MAX_ERRORS = 100
"""So many bad lines are told; whoever has more has made the same mistake often."""
MAX_LINE_BYTES = 64 << 10
BREATH_LINES = 100
"""After so many lines the server's other requests have a turn: gevent switches only where something waits."""


@dataclass(frozen=True, slots=True)
class BadLine(Exception):
    """One line that cannot be accepted."""

    line: int
    field: str | None
    message: str


def spool(body: IO[bytes], to: IO[bytes], settings: Settings) -> str:
    """Copy the body to a file and return its SHA-256 in hex. Raises BodyTooLarge as soon as it is."""
    size, digest = 0, hashlib.sha256()
    while chunk := body.read(1 << 16):
        size += len(chunk)
        if size > settings.max_bulk_bytes:
            raise BodyTooLarge(f"A bulk may have at most {settings.max_bulk_bytes} bytes.")
        to.write(chunk)
        digest.update(chunk)
    to.seek(0)
    return digest.hexdigest()


def check(lines: IO[bytes], catalogue: Catalogue, settings: Settings) -> int:
    """Check every line; returns how many jobs there are. Raises BadBulk with the lines at fault."""
    errors: list[dict[str, Any]] = []
    total = 0
    for number, text in _numbered(lines):
        total += 1
        if total % BREATH_LINES == 0:
            time.sleep(0)
        if total > settings.max_bulk_lines:
            raise BadBulk(f"A bulk may have at most {settings.max_bulk_lines} lines.")
        try:
            _parse(number, text, catalogue)
        except BadLine as bad:
            errors.append({"line": bad.line, "field": bad.field, "message": bad.message})
            if len(errors) == MAX_ERRORS:
                break
    if errors:
        first = errors[0]
        raise BadBulk(
            f"{len(errors)} lines cannot be accepted, so nothing was queued; line {first['line']}: {first['message']}",
            errors=errors,
        )
    if not total:
        raise BadBulk("The bulk is empty: send one JSON object a line.")
    lines.seek(0)
    return total


def jobs(lines: IO[bytes], catalogue: Catalogue) -> Iterator[NewJob]:
    """The jobs of a checked bulk."""
    for number, text in _numbered(lines):
        yield _parse(number, text, catalogue)


def _numbered(lines: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    number = 0
    while text := lines.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(text) > MAX_LINE_BYTES:
            message = f"a line may have at most {MAX_LINE_BYTES} bytes"
            raise BadBulk(f"Line {number}: {message}.", errors=[{"line": number, "field": None, "message": message}])
        if text.strip():
            yield number, text


def _parse(number: int, text: bytes, catalogue: Catalogue) -> NewJob:
    try:
        request = JobRequest.model_validate(json.loads(text))
        card, spec = catalogue.resolve(request)
    except ValidationError as error:
        first = from_validation(error).details["errors"][0]
        raise BadLine(number, first["field"] or None, first["message"]) from error
    except LimnerError as error:
        raise BadLine(number, error.details.get("field"), error.message) from error
    except ValueError as error:
        raise BadLine(number, None, f"not JSON: {error}") from error
    return NewJob(spec, card.cost(spec), request.priority or Priority.LOW, request.metadata, number)
