"""Bodies that end early or cannot be read: each is refused, never taken for a shorter or an empty one."""

from __future__ import annotations

from typing import IO, Any, Final

from flask import Request
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import ClientDisconnected
from werkzeug.formparser import FormDataParser

from limner_shared.errors import MalformedBody

BROKEN_BODY: Final = (OSError, ParseException, ClientDisconnected)
"""The errors of reading a body whose connection or chunked framing ends early."""
FORMS: Final = ("multipart/form-data", "application/x-www-form-urlencoded")


def cut_off(read: int, declared: int | None) -> MalformedBody:
    """The error for a body that ended early, in bytes."""
    of = "" if declared is None else f" of {declared}"
    return MalformedBody(f"The body was cut off after {read}{of} bytes. Send it again.")


class StrictForms(FormDataParser):
    """Reads forms. Werkzeug's own reader takes a form that is cut off, or is none, for an empty one."""

    def parse(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str] | None = None
    ) -> Any:
        """Return the stream, the fields and the files; none of these for a body of another type.

        Raises MalformedBody.
        """
        self.silent = False
        counted: Any = _Counted(stream)
        unreadable: ValueError | None = None
        fields = files = self.cls()
        try:
            _, fields, files = super().parse(counted, mimetype, content_length, options)
        except BROKEN_BODY as error:
            raise cut_off(counted.size, content_length) from error
        except ValueError as error:
            unreadable = error
        if mimetype in FORMS and counted.size < (content_length or 0):
            raise cut_off(counted.size, content_length) from unreadable
        if unreadable is not None:
            raise MalformedBody("The body is no form that can be read: its end may be missing.") from unreadable
        return stream, fields, files


class StrictRequest(Request):
    """A request whose forms are read strictly."""

    form_data_parser_class = StrictForms


class _Counted:
    """A stream that counts what is read from it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self.size += len(data)
        return data
