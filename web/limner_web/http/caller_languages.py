"""The languages that a client prefers: the one that the reader of the pages chose, then those of its browser."""

from __future__ import annotations

import re
from typing import Final

from flask import has_request_context, request

COOKIE: Final = "language"
"""The cookie of the language that a reader chose."""
MOST: Final = 4
_CODE: Final = re.compile(r"[a-z]{2,3}")


def caller_languages() -> tuple[str, ...]:
    """The codes of the languages that the client of this request prefers, the best first; none outside a request."""
    if not has_request_context():
        return ()
    accepted = (code.partition("-")[0].lower() for code in request.accept_languages.values())
    codes = [request.cookies.get(COOKIE, ""), *accepted]
    return tuple(dict.fromkeys(code for code in codes if _CODE.fullmatch(code)))[:MOST]
