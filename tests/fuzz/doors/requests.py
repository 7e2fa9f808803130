"""One request to a door, and what it says that it will do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import httpx

File = tuple[str, bytes]
"""The name and the bytes of an uploaded file."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Marks such as `@own.job@` in its path and texts are replaced by ids of the service's."""

    method: str
    path: str
    json: Any = None
    """The JSON body; None for none, or where one of the next two is the body."""
    form: Mapping[str, Any] | None = None
    files: tuple[tuple[str, File], ...] = ()
    raw: bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    makes_job: bool = False
    """Whether the call makes one job if it is accepted."""
    asks: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields of the job's spec that the call gives, by our names."""
    needs: tuple[str, ...] = ()
    """Parameters that an error may name although the call does not have them."""

    @property
    def names(self) -> set[str]:
        """Every name that the call sends, at any depth, and those that it needs."""
        found = {*self.query, *self.headers, *self.needs, *(name for name, _ in self.files)}
        for body in (self.json, self.form):
            found |= _names(body)
        return found


def encoded(request: Request, ids: Mapping[str, str]) -> dict[str, Any]:
    """The arguments for httpx's `request`, with marks replaced."""
    sent: dict[str, Any] = {"method": request.method, "url": _marked(request.path, ids)}
    sent["params"] = {name: _marked(value, ids) for name, value in request.query.items()}
    sent["headers"] = {name: value.encode("latin-1", "replace") for name, value in request.headers.items()}
    if request.json is not None:
        sent["content"] = _marked(json.dumps(request.json), ids).encode()
        sent["headers"] |= {"Content-Type": b"application/json"}
    elif request.raw is not None:
        sent["content"] = request.raw
    elif request.files:
        sent["data"] = _fields(request.form, ids)
        files = ((name, file.encode("utf-8", "replace").decode(), data) for name, (file, data) in request.files)
        sent["files"] = [
            (name, (file, _marked(data.decode("latin-1"), ids).encode("latin-1"))) for name, file, data in files
        ]
    elif request.form is not None:
        sent["data"] = _fields(request.form, ids)
    return sent


def send(client: httpx.Client, request: Request, ids: Mapping[str, str]) -> httpx.Response:
    return client.request(**encoded(request, ids))


def _fields(form: Mapping[str, Any] | None, ids: Mapping[str, str]) -> dict[str, str]:
    return {
        name: _marked(value if isinstance(value, str) else json.dumps(value), ids).encode("utf-8", "replace").decode()
        for name, value in (form or {}).items()
    }


def _marked(text: str, ids: Mapping[str, str]) -> str:
    for mark, value in ids.items():
        text = text.replace(mark, value)
    return text


def _names(value: Any) -> set[str]:
    found: set[str] = set()
    waiting = [value]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            members = cast("dict[str, Any]", current)
            found |= members.keys()
            waiting += members.values()
        elif isinstance(current, list):
            waiting += cast("list[Any]", current)
    return found
