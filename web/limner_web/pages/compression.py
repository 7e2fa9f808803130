"""Compressed answers, for those that are the same for all readers or to which no one else can add text.

BREACH finds a secret in a compressed answer that also repeats what an attacker sends. So nothing is compressed by
default: static files, catalogs and the pages that repeat nothing of their request are, and answers of the API, event
streams, forms that are shown again and the sign-in page never.
"""

from __future__ import annotations

import gzip
from typing import Final

from flask import Response, request

LEAST_BYTES: Final = 600
"""Below this, the saving is less than a packet."""
LEVEL_EACH_TIME: Final = 5
LEVEL_ONCE: Final = 9


def compressed_once(body: bytes) -> bytes:
    """The body in gzip's format, as small as possible and the same in every process."""
    return gzip.compress(body, LEVEL_ONCE, mtime=0)


def accepts_gzip() -> bool:
    """Whether the client of this request reads gzip."""
    return request.accept_encodings.quality("gzip") > 0


def kept_answer(body: bytes, small: bytes | None, content_type: str, etag: str) -> Response:
    """An answer of bytes that rarely change, in gzip's format where there is one (`small`) and the client reads it.

    Each format has its own ETag, as HTTP demands; a client that has it gets 304.
    """
    in_gzip = small is not None and accepts_gzip()
    answer = Response(small if in_gzip else body, content_type=content_type)
    if small is not None:
        answer.vary.add("Accept-Encoding")
    if in_gzip:
        answer.content_encoding = "gzip"
    answer.set_etag(f"{etag}-gzip" if in_gzip else etag)
    answer.make_conditional(request)
    return answer


def compress(response: Response) -> Response:
    """Compress a page, if the client reads it; only for pages that repeat nothing of their request."""
    if response.status_code != 200 or response.mimetype != "text/html" or response.is_streamed:  # noqa: PLR2004
        return response
    response.vary.add("Accept-Encoding")
    body = response.get_data()
    if len(body) >= LEAST_BYTES and accepts_gzip():
        response.set_data(gzip.compress(body, LEVEL_EACH_TIME, mtime=0))
        response.content_encoding = "gzip"
    return response
