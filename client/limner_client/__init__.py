"""The client for Python, `from limner_client import Client`; the command `limner`; the service on one machine."""

from limner_client.client import Client

__all__ = ["Client"]
