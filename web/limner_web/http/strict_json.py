"""The reader of request bodies: strict JSON, and only text that both databases can store."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, Never, cast

from flask.json.provider import DefaultJSONProvider

from limner_shared.errors import InvalidRequest, MalformedBody
from limner_web.limits import MAX_JSON_DEPTH, MAX_JSON_VALUES

MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1

Container = dict[str, Any] | list[Any]


class StrictJson(DefaultJSONProvider):
    """Flask's JSON provider with the strict `loads` below."""

    ensure_ascii = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """Parse a JSON text; see `loads`."""
        return loads(s)


def loads(data: str | bytes) -> Any:
    """Parse a JSON text (RFC 8259) and return its value.

    Raises MalformedBody for text that is not JSON in UTF-8, including `NaN` and `Infinity`. Raises InvalidRequest, with
    the field if it is known, for values that PostgreSQL cannot store or other parsers would change: NUL, lone
    surrogates, integers beyond 64 bits, numbers beyond a double, lists and objects nested deeper than MAX_JSON_DEPTH,
    and more than MAX_JSON_VALUES values.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise _too_deep("") from error
    except ValueError as error:
        raise MalformedBody(f"The body is not valid JSON in UTF-8: {error}.") from error
    # Most bodies need no check: NUL and surrogates can occur only as escapes, since raw ones are not JSON or UTF-8.
    if "\\u" in text or text.count("[") + text.count("{") > MAX_JSON_DEPTH or text.count(",") >= MAX_JSON_VALUES:
        _check(value)
    return value


def loads_field(field: str, data: str | bytes) -> Any:
    """Parse the JSON text in one field of a form; see `loads`. Its InvalidRequest names the field."""
    try:
        return loads(data)
    except InvalidRequest as error:
        raise InvalidRequest(f"{field}: {error.message}", field=field) from error


def is_storable(text: str) -> bool:
    """Whether both databases can store this text: it has no NUL and no lone surrogate."""
    return "\x00" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def is_printable_ascii(text: str) -> bool:
    """Whether a text has only printable ASCII characters."""
    return text.isascii() and text.isprintable()


def refuse_text(field: str) -> InvalidRequest:
    """The error for text that cannot be stored."""
    return InvalidRequest(f"{field or 'body'}: remove NUL characters and lone surrogates.", field=field or None)


def _check(value: Any) -> None:
    """Check every text, the nesting depth and the number of values, without recursion. Raises InvalidRequest."""
    open_values: list[tuple[str, int, Any]] = [("", 0, value)]
    values = 0
    while open_values:
        path, depth, current = open_values.pop()
        if isinstance(current, str):
            if not is_storable(current):
                raise refuse_text(path)
        elif isinstance(current, dict | list):
            if depth == MAX_JSON_DEPTH:
                raise _too_deep(path.partition(".")[0])
            values += len(cast("Container", current))
            if values > MAX_JSON_VALUES:
                raise InvalidRequest(f"The body has more than {MAX_JSON_VALUES} values. Send less at once.")
            open_values += (
                (name, depth + 1, inner) for name, inner in _members(path, depth, cast("Container", current))
            )


def _members(path: str, depth: int, value: Container) -> Iterator[tuple[str, Any]]:
    start = f"{path}." if depth else ""  # a path may be empty below the body: a member's name may be
    if isinstance(value, list):
        yield from ((f"{start}{index}", inner) for index, inner in enumerate(value))
        return
    for name, inner in value.items():
        if not is_storable(name):
            raise refuse_text(path)
        yield f"{start}{name}", inner


def _too_deep(field: str) -> InvalidRequest:
    message = f"{field or 'body'}: lists and objects may be nested at most {MAX_JSON_DEPTH} deep."
    return InvalidRequest(message, field=field or None)


def _integer(text: str) -> int:
    if len(text) > len(str(MIN_INTEGER)) or not MIN_INTEGER <= int(text) <= MAX_INTEGER:
        raise InvalidRequest("An integer is beyond 64 bits. Send it as a string, or make it smaller.")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidRequest("A number is beyond the range of a double. Send it as a string, or make it smaller.")
    return number


def _constant(text: str) -> Never:
    raise ValueError(f"{text} is not a JSON number")


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_constant)
