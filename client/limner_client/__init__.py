"""The Python client (`from limner_client import Client`), the `limner` command, and the service on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner_client.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> object:
    """Import the client when it is first used: `limner --help` needs no HTTP library."""
    if name != "Client":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from limner_client.client import Client  # noqa: PLC0415

    return Client
