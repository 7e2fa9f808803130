"""Opening a bucket: time limits, retries, and the variables of its cloud."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from limner_shared.errors import ConfigurationError

CONNECT_SECONDS: Final = 5
REQUEST_SECONDS: Final = 15
"""Time limit of one request with its body. The client's own default is 30 s, and ten tries within three minutes."""
RETRIES: Final = 2
RETRY_SECONDS: Final = 20
"""No retry begins after this, so a call lasts at most 35 s."""
CLOUDS: Final = ("AWS_", "AZURE_", "GOOGLE_")
FROM_ENVIRONMENT: Final = ("allow_http", "allow_invalid_certificates", "proxy_url", "proxy_ca_certificate")
"""Client options that are set by `AWS_`, `AZURE_` and `GOOGLE_` variables; the client ignores those variables if other
options are passed explicitly."""


def open_bucket(url: str, config: Any = None) -> ObjectStore:
    """Open a bucket with options of obstore, beside the cloud's variables. An empty variable counts as not set.

    Raises ConfigurationError.
    """
    if not urlsplit(url).scheme:
        raise ConfigurationError("LIMNER_BLOB_URL must be a URL, such as s3://bucket or file:///srv/pictures.")
    for name in [name for name, value in os.environ.items() if not value and name.startswith(CLOUDS)]:
        del os.environ[name]  # the client reads them itself, and would take "" for the address of a server
    options: Any = {
        name: value if value.lower() not in ("true", "false") else value.lower() == "true"
        for name in FROM_ENVIRONMENT
        for cloud in ("AWS", "AZURE", "GOOGLE")
        if (value := os.environ.get(f"{cloud}_{name.upper()}"))
    }
    options |= {"connect_timeout": timedelta(seconds=CONNECT_SECONDS), "timeout": timedelta(seconds=REQUEST_SECONDS)}
    try:
        return from_url(
            url,
            config=config,
            client_options=options,
            retry_config={"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_SECONDS)},
        )
    except (BaseError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ConfigurationError(
            f"The picture store cannot be used as it is configured: {reason} Check LIMNER_BLOB_URL and the cloud's"
            " variables, such as AWS_SERVER_SIDE_ENCRYPTION (AES256 or aws:kms)."
        ) from error
