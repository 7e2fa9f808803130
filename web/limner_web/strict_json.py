"""The one reader of what clients send: strict JSON, and text that every database can store."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, Final, Never

from flask.json.provider import DefaultJSONProvider

from limner_shared.errors import InvalidRequest, MalformedBody

MAX_DEPTH: Final = 32
MIN_INTEGER: Final = -(2**63)
MAX_INTEGER: Final = 2**64 - 1


class StrictJson(DefaultJSONProvider):
    """Flask's JSON, with `loads` for every body."""

    ensure_ascii = False

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        """See `loads` below."""
        return loads(s)


def loads(data: str | bytes) -> Any:
    """The value of a JSON text (RFC 8259).

    Raises MalformedBody for what is not JSON in UTF-8, `NaN` and `Infinity` included, and InvalidRequest, with the
    field where it is known, for what PostgreSQL cannot store or other readers would change: NUL, lone surrogates,
    numbers beyond 64 bits, and lists and objects nested deeper than MAX_DEPTH.
    """
    try:
        text = data if isinstance(data, str) else data.decode()
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise _too_deep("") from error
    except ValueError as error:
        raise MalformedBody(f"This is not JSON in UTF-8: {error}.") from error
    # Most bodies need no search: NUL and surrogates come by escapes only, since raw ones are neither JSON nor UTF-8.
    if "\\u" in text or text.count("[") + text.count("{") > MAX_DEPTH:
        _check(value)
    return value


def is_storable(text: str) -> bool:
    """Whether both databases can store this text: no NUL, and no half of a surrogate pair."""
    return "\x00" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def is_printable_ascii(text: str) -> bool:
    """Whether a header's value has printable ASCII characters alone."""
    return text.isascii() and text.isprintable()


def refuse_text(field: str) -> InvalidRequest:
    """The error for text that cannot be stored."""
    return InvalidRequest(f"{field or 'body'}: NUL and lone surrogates are not accepted.", field=field or None)


def _check(value: Any) -> None:
    """Look at every text and at the depth, without recursion. Raises InvalidRequest."""
    open_values: list[tuple[str, int, Any]] = [("", 0, value)]
    while open_values:
        path, depth, one = open_values.pop()
        if isinstance(one, str):
            if not is_storable(one):
                raise refuse_text(path)
        elif isinstance(one, dict | list):
            if depth == MAX_DEPTH:
                raise _too_deep(path.partition(".")[0])
            open_values += ((name, depth + 1, inner) for name, inner in _members(path, one))


def _members(path: str, value: dict[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        yield from ((f"{path}.{index}".lstrip("."), inner) for index, inner in enumerate(value))
        return
    for name, inner in value.items():
        if not is_storable(name):
            raise refuse_text(path)
        yield f"{path}.{name}".lstrip("."), inner


def _too_deep(field: str) -> InvalidRequest:
    message = f"{field or 'body'}: at most {MAX_DEPTH} lists and objects may be nested."
    return InvalidRequest(message, field=field or None)


def _integer(text: str) -> int:
    if len(text) > len(str(MIN_INTEGER)) or not MIN_INTEGER <= int(text) <= MAX_INTEGER:
        raise InvalidRequest("An integer has more than 64 bits.")
    return int(text)


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise InvalidRequest("A number is beyond the range of a double.")
    return number


def _constant(text: str) -> Never:
    raise ValueError(f"{text} is no JSON number")


_DECODER: Final = json.JSONDecoder(parse_int=_integer, parse_float=_number, parse_constant=_constant)
