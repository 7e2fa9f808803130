"""Delivery of pictures by the bucket itself: the client is redirected to a signed URL, where the operator wants it."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from limner_shared.errors import Overloaded, StorageFailed
from limner_shared.settings import Settings
from limner_shared.storage.blobs import Blobs
from limner_shared.storage.signed_urls import UrlSigner
from limner_web.serving.offload import OffloadPool

SCRIPTED: Final = ("cors", "same-origin")
"""Modes of requests that scripts of a page send: they could read another origin only if the bucket allowed theirs."""


class Target(NamedTuple):
    """Where a picture can be read, and for how many seconds."""

    url: str
    seconds: int


class BucketRedirects:
    """Signs URLs of pictures. Switched off unless `delivery_seconds` is set."""

    def __init__(self, settings: Settings, blobs: Blobs, storage: OffloadPool) -> None:
        """Raises ConfigurationError if it is switched on and the picture store cannot sign URLs."""
        self._seconds = settings.delivery_seconds
        self._blobs = blobs
        self._storage = storage
        self._signer: UrlSigner | None = None
        if self._seconds:
            self._signer = UrlSigner(settings.resolved_blob_url, settings.delivery_endpoint)

    @property
    def origin(self) -> str:
        """The origin of the signed URLs; empty if it is switched off."""
        return "" if self._signer is None else self._signer.origin

    def target(
        self, tenant_id: str, method: str, mode: str | None, digest: str, rendition: str | None, left: float
    ) -> Target | None:
        """Where the sender of a request can read a tenant's picture, for `left` seconds at most. `mode` is its
        `Sec-Fetch-Mode`.

        None if it must pass through the web server: delivery is switched off, a script of a page asks, the object is
        missing, or the store does not answer; then the next read says what is wrong.
        """
        seconds = int(min(self._seconds, left))
        if self._signer is None or seconds < 1 or mode in SCRIPTED:
            return None
        signed: Literal["GET", "HEAD"] = "HEAD" if method == "HEAD" else "GET"
        try:
            url = self._storage.call_for(tenant_id, self._url, self._signer, signed, digest, rendition, seconds)
        except (StorageFailed, Overloaded):
            return None
        return None if url is None else Target(url, seconds)

    def _url(
        self, signer: UrlSigner, method: Literal["GET", "HEAD"], digest: str, rendition: str | None, seconds: int
    ) -> str | None:
        key = self._blobs.key_in_place(digest, rendition)
        return None if key is None else signer.sign(method, key, seconds)
