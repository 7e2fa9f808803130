"""The options that all commands of a server share, and the client that they describe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from limner_client.client import Client
from limner_shared.settings import Settings

F = TypeVar("F", bound=Callable[..., Any])


def server_options(command: F) -> F:
    """Add the options `--server` and `--key`, which the command receives as `server` and `key`."""
    key = click.option("--key", help="API key, if the server requires one. Default: LIMNER_API_KEY.")
    server = click.option(
        "--server", help="URL of the server. Default: LIMNER_SERVER_URL, or this machine at LIMNER_PORT."
    )
    return server(key(command))


def make_client(server: str | None, key: str | None) -> Client:
    """Return a client of the given server, or of the one on this machine."""
    settings = Settings()
    return Client(server_url(server, settings), key or settings.api_key or None)


def server_url(server: str | None, settings: Settings) -> str:
    """The URL of the given server, or of the one on this machine."""
    url = server or settings.server_url or f"http://127.0.0.1:{settings.port}"
    return url if "://" in url else f"http://{url}"
