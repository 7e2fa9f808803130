"""The Python client raises the error of each code that a server may answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from limner_client import client as client_module
from limner_client.client import Client
from limner_client.errors import ClientError, ServerUnreachable, refused
from limner_shared import errors
from limner_shared.errors import LimnerError


@pytest.mark.parametrize("kind", [errors.NegativePromptUnsupported, errors.ModelNotFound, errors.TooManyRequests])
def test_the_class_follows_from_the_code(kind: type[LimnerError]):
    raised = refused(httpx.Response(kind.status, json={"code": kind.code, "detail": "why", "field": "model"}))
    assert type(raised) is kind
    assert (raised.message, raised.details["field"]) == ("why", "model")


def test_an_unknown_code_is_an_error_of_the_client():
    assert type(refused(httpx.Response(418, json={"code": "teapot", "detail": "why"}))) is ClientError


@pytest.fixture
def silent_server() -> Iterator[str]:
    """The address of a server that accepts connections, and then neither reads nor answers: as a host that is lost."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("size", [100, 20_000_000], ids=["no answer", "no room"])
def test_a_bulk_is_given_up_when_its_server_is_lost(
    silent_server: str, tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
):
    assert client_module.BULK_TIMEOUT.as_dict() == {"connect": 5, "read": 600, "write": 60, "pool": 60}
    monkeypatch.setattr(client_module, "BULK_TIMEOUT", httpx.Timeout(0.2))
    file = tmp_path / "prompts.jsonl"
    file.write_bytes(b'{"prompt": "a boat"}\n' * (size // 20))
    with Client(silent_server) as client, pytest.raises(ServerUnreachable):
        client.submit_bulk(file)
