"""The formats and sizes in which clients get pictures: which one they accept, and the conversion to it."""

from __future__ import annotations

import io
from typing import Final, Literal

from flask import request
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from limner_shared.errors import NotAcceptable

Format = Literal["png", "webp", "jpeg"]
MEDIA_TYPES: Final[dict[str, str]] = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
DEFAULT_QUALITY: Final = 92
XMP_KEY: Final = "XML:com.adobe.xmp"


def accepted_format() -> str:
    """The format that the request's `Accept` header prefers, PNG without one. Raises NotAcceptable."""
    if not request.accept_mimetypes:
        return "png"
    best = request.accept_mimetypes.best_match(list(MEDIA_TYPES.values()))
    if best is None:
        raise NotAcceptable(f"Accept one of {', '.join(MEDIA_TYPES.values())}.")
    return next(kind for kind, media_type in MEDIA_TYPES.items() if media_type == best)


def convert(
    stored: bytes,
    kind: str,
    quality: int | None = None,
    letterbox: tuple[int, int] | None = None,
    width: int | None = None,
) -> bytes:
    """Return a stored PNG, or a preview in WebP, as a file of another `kind`, a key of MEDIA_TYPES.

    `quality` is 0 to 100, for WebP and JPEG. A picture wider than `width` pixels is scaled down to it. With
    `letterbox`, (width, height) in pixels, the picture is scaled to fit and centered on white. Run this on the Pillow
    threads.
    """
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(stored), formats=["PNG", "WEBP"]) as picture:
        xmp = picture.info.get(XMP_KEY)  # keeps the provenance data
        result = picture.convert("RGB")
    if width is not None and width < result.width:
        height = max(1, round(result.height * width / result.width))
        result = result.resize((width, height), Image.Resampling.LANCZOS)
    if letterbox is not None:
        result = ImageOps.pad(result, letterbox, Image.Resampling.LANCZOS, color="white")
    if kind == "png":
        info = PngInfo()
        if isinstance(xmp, str):
            info.add_itxt(XMP_KEY, xmp)
        result.save(buffer, "PNG", compress_level=4, pnginfo=info)
    else:
        extra = {"xmp": xmp.encode()} if isinstance(xmp, str) else {}
        result.save(buffer, kind.upper(), quality=max(1, DEFAULT_QUALITY if quality is None else quality), **extra)
    return buffer.getvalue()
