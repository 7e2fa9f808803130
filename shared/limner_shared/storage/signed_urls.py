"""URLs at which a client reads an object of a bucket without a key, until they expire."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal
from urllib.parse import urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import AzureStore, GCSStore, S3Store

from limner_shared.errors import ConfigurationError, StorageFailed
from limner_shared.storage.buckets import open_bucket
from limner_shared.storage.object_store import PROBE

BUCKETS: Final = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "adl")


class UrlSigner:
    """Signs URLs of a bucket's objects, with the servers' own credentials."""

    def __init__(self, url: str, endpoint: str = "") -> None:
        """`endpoint` is the bucket's address for clients; empty: the one that the servers use.

        Raises ConfigurationError if the store is not a bucket, or its credentials cannot sign.
        """
        if urlsplit(url).scheme not in BUCKETS:
            raise ConfigurationError("LIMNER_DELIVERY_SECONDS needs a bucket in LIMNER_BLOB_URL.")
        if endpoint and urlsplit(url).scheme == "gs":
            raise ConfigurationError(
                "LIMNER_DELIVERY_ENDPOINT cannot be used with Google Cloud Storage: its signatures name Google's host."
            )
        store = open_bucket(url, {"endpoint": endpoint} if endpoint else None)
        if not isinstance(store, (S3Store, GCSStore, AzureStore)):
            raise ConfigurationError("LIMNER_DELIVERY_SECONDS needs a bucket of S3, Google Cloud or Azure.")
        self._store = store
        try:
            parts = urlsplit(self.sign("GET", PROBE, 1))
        except StorageFailed as error:
            raise ConfigurationError(
                f"LIMNER_DELIVERY_SECONDS needs credentials that can sign URLs. {error}"
            ) from error
        self.origin = f"{parts.scheme}://{parts.netloc}"

    def sign(self, method: Literal["GET", "HEAD"], key: str, seconds: int) -> str:
        """A URL that answers this method for some seconds, whether or not the key exists. Raises StorageFailed."""
        try:
            return obstore.sign(self._store, method, key, timedelta(seconds=seconds))
        except (BaseError, OSError, ValueError) as error:
            raise StorageFailed(f"The picture store's URLs cannot be signed: {type(error).__name__}.") from error
