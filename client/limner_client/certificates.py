"""Which certificates of servers are accepted."""

from __future__ import annotations

import ssl

import httpx

from limner_shared.errors import ConfigurationError


def trusted() -> ssl.SSLContext:
    """The authorities in the file SSL_CERT_FILE or the folder SSL_CERT_DIR, or the public ones.

    Raises ConfigurationError if the file holds none.
    """
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        raise ConfigurationError(
            f"SSL_CERT_FILE: no certificates of authorities can be read from it: {error}"
        ) from error
