"""Images in other formats and sizes: each is made once and kept in the picture store."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

from limner_shared.c2pa_signing import PictureSigner, is_signed
from limner_shared.errors import StorageFailed, StorageFull
from limner_shared.storage.blobs import Blobs
from limner_web.pictures.picture_formats import MEDIA_TYPES, convert
from limner_web.serving.offload import OffloadPool


@dataclass(frozen=True, slots=True)
class Rendition:
    """A format, and how the picture is changed for it.

    None is the image's own width in pixels, the usual quality of 0 to 100, and no scaling to a width and height.
    """

    kind: str
    width: int | None = None
    quality: int | None = None
    letterbox: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The name under which it is stored beside its image, if it is, and by which it differs from others."""
        quality = "" if self.quality is None else f"-{self.quality}"
        fit = "" if self.letterbox is None else "-{}x{}".format(*self.letterbox)
        return f"{self.width or 'full'}{quality}{fit}.{self.kind}"

    @property
    def is_kept(self) -> bool:
        """Whether it is stored: there would be too many of a picture if each quality and size were kept."""
        return self.quality is None and self.letterbox is None


class Renditions:
    """Returns stored renditions, and makes those that are missing."""

    def __init__(
        self,
        blobs: Blobs,
        storage: OffloadPool,
        pillow: OffloadPool,
        signing: OffloadPool,
        signer: PictureSigner | None,
    ) -> None:
        """`storage` runs the calls of `blobs`, `pillow` decodes and encodes images, and `signing` signs them, which may
        have to wait for the authority for time stamps.
        """
        self._signing = signing
        self._signer = signer
        self._blobs = blobs
        self._storage = storage
        self._pillow = pillow
        self._locks: WeakValueDictionary[tuple[str, Rendition], threading.Lock] = WeakValueDictionary()

    def get(self, tenant_id: str, digest: str, rendition: Rendition) -> bytes:
        """The rendition of a tenant's stored PNG, signed if that is and there is a certificate.

        Raises NotFound, ObjectUnreadable, StorageFailed, SigningFailed or Overloaded.
        """
        # Concurrent requests for one rendition wait for the first instead of making it again.
        with self._locks.setdefault((digest, rendition), threading.Lock()):
            store = partial(self._storage.call_for, tenant_id)
            found = store(self._blobs.get_rendition, digest, rendition.name) if rendition.is_kept else None
            if found is None:
                original = store(self._blobs.get_checked, digest)
                found = self._make(tenant_id, original, rendition)
                if rendition.is_kept:
                    with suppress(StorageFull, StorageFailed):  # it is made again next time
                        store(self._blobs.put_rendition, digest, rendition.name, found)
            return found

    def convert(
        self, tenant_id: str, stored: bytes, kind: str, quality: int | None, letterbox: tuple[int, int] | None
    ) -> bytes:
        """A tenant's stored PNG or a preview in another form that is not kept, as `convert` makes it; signed as `get`
        says.

        Raises SigningFailed or Overloaded.
        """
        return self._make(tenant_id, stored, Rendition(kind, None, quality, letterbox))

    def write(self, tenant_id: str, stored: bytes, kind: str, writer: Callable[[bytes], bytes]) -> bytes:
        """What `writer` makes of a tenant's stored PNG, a file of this kind; signed as `get` says.

        Raises SigningFailed or Overloaded.
        """
        written = self._pillow.call_in_turn(tenant_id, writer, stored)
        return self._signed(tenant_id, written, kind, stored)

    def _make(self, tenant_id: str, original: bytes, rendition: Rendition) -> bytes:
        quality, letterbox, width = rendition.quality, rendition.letterbox, rendition.width
        change = partial(convert, original, rendition.kind, quality=quality, letterbox=letterbox, width=width)
        made = self._pillow.call_in_turn(tenant_id, change)
        return self._signed(tenant_id, made, rendition.kind, original)

    def _signed(self, tenant_id: str, made: bytes, kind: str, original: bytes) -> bytes:
        if self._signer is None or not is_signed(original):
            return made
        return self._signing.call_for(tenant_id, self._signer.converted, made, MEDIA_TYPES[kind], original)
