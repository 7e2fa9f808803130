"""Responses that are read from the stores while they are sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from flask import Response, stream_with_context

from limner_shared.errors import LimnerError
from limner_shared.telemetry import get_logger

log = get_logger(__name__)


def download(parts: Iterator[bytes], mimetype: str, headers: Mapping[str, str] | None = None) -> Response:
    """The response that streams these parts.

    The first is read before the status is sent, so its errors are raised here. A later error cuts the connection off,
    which is how a client sees that it does not have all.
    """
    first = next(parts, b"")
    body = stream_with_context(chain((first,), _rest(parts)))
    return Response(body, headers=dict(headers or {}), mimetype=mimetype)


def _rest(parts: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from parts
    except LimnerError as error:
        log.warning("a download was cut off", error=error.code, **error.details)
        raise
