"""The `Warning` header of an answer: what the client asked for and does not get."""

from __future__ import annotations

from flask import Response


def with_warning(answer: Response, warning: str | None) -> Response:
    """The response with one more `Warning` header (RFC 7234, code 299), unless the warning is None."""
    if warning is not None:
        text = warning.replace("\\", "").replace('"', "'")
        plain = "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
        answer.headers.add("Warning", f'299 limner "{plain}"')
    return answer
