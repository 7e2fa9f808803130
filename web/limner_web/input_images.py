"""What image-to-image and inpainting start from: read once at the edge, checked, and stored as a worker needs it."""

from __future__ import annotations

import base64
import binascii
import io
import re
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from limner_shared.db import queries
from limner_shared.db.engine import Database
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import InvalidRequest, NotFound
from limner_shared.storage.blobs import Blobs
from limner_web.serving.offload import Threads

MAX_BYTES: Final = 10_000_000
MAX_PIXELS: Final = {"PNG": 16_777_216, "JPEG": 25_000_000, "WEBP": 12_582_912}
"""So large a picture can be decoded within 200 MB."""
SPARE: Final = 2
"""So many times the size that is needed, a shrunk picture looks the same when it is fitted."""
DATA_URL: Final = re.compile(r"data:image/(?:png|jpeg|webp);base64,", re.IGNORECASE)
BAND_ROWS: Final = 256
FIELDS: Final = ("image", "mask")


class Inputs:
    """Replaces what a client named in `image` and `mask` by the digests of stored PNGs of the job's size."""

    def __init__(self, database: Database, blobs: Blobs, storage: Threads, pillow: Threads) -> None:
        """`storage` runs the store's calls, `pillow` reads and writes pictures."""
        self._database = database
        self._blobs = blobs
        self._storage = storage
        self._pillow = pillow

    def store(self, tenant_id: str, spec: JobSpec) -> JobSpec:
        """The job with its inputs stored; unchanged if it has none.

        Raises InvalidRequest that names the field, StorageFull or StorageFailed.
        """
        given = {field: value for field in FIELDS if (value := getattr(spec, field)) is not None}
        stored: dict[str, str] = {}
        for field, value in given.items():
            data = self._read(tenant_id, field, value)
            fitted = self._pillow.call(fit, data, field, (spec.width, spec.height))
            stored[field] = self._storage.call(self._blobs.put_input, fitted)
        return spec.model_copy(update=stored) if stored else spec

    def _read(self, tenant_id: str, field: str, value: str) -> bytes:
        if value.startswith("img_"):
            try:
                with self._database.read() as session:
                    digest = queries.image(session, tenant_id, value).sha256
                return self._storage.call(self._blobs.get, digest)
            except NotFound as error:
                raise _refuse(field, f"there is no picture {value[:60]} of yours any more") from error
        prefix = DATA_URL.match(value)
        if prefix is None:
            raise _refuse(field, "give the id of a picture of yours, or `data:image/png;base64,…` (or jpeg, webp)")
        try:
            data = base64.b64decode(value[prefix.end() :], validate=True)
        except binascii.Error as error:
            raise _refuse(field, "what follows `base64,` is not base64") from error
        if len(data) > MAX_BYTES:
            raise _refuse(field, f"a picture may have at most {MAX_BYTES // 1_000_000} MB")
        return data


def fit(data: bytes, field: str, size: tuple[int, int]) -> bytes:
    """A picture's bytes as an RGB PNG of (width, height), upright, over white, its middle cut out to the new shape.

    Raises InvalidRequest that names the field.
    """
    try:
        with Image.open(io.BytesIO(data), formats=tuple(MAX_PIXELS)) as picture:
            most = MAX_PIXELS[picture.format or "PNG"]
            if picture.width * picture.height > most:
                raise _refuse(field, f"a {picture.format} may have at most {most // 1_000_000} megapixels")
            fitted = _fit_mask(picture, size) if field == "mask" else _fit_image(picture, size)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refuse(field, "the picture has too many megapixels") from error
    except UnidentifiedImageError as error:
        raise _refuse(field, f"this is no picture of {', '.join(MAX_PIXELS)} that can be read") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged files
        raise _refuse(field, "the picture is damaged") from error
    buffer = io.BytesIO()
    fitted.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _fit_image(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    needed = (SPARE * max(size), SPARE * max(size))  # it may lie on its side
    picture.draft("RGB", needed)  # a JPEG is decoded smaller
    factor = min(picture.width // needed[0], picture.height // needed[1])
    shrunk = _shrunk(picture, factor) if factor > 1 else picture
    ImageOps.exif_transpose(shrunk, in_place=True)
    return ImageOps.fit(_opaque(shrunk), size, Image.Resampling.LANCZOS)


def _shrunk(picture: Image.Image, factor: int) -> Image.Image:
    """A picture much larger than needed, in one `factor`th of its size: what follows takes memory for each pixel.

    In bands, because conversions make copies.
    """
    picture.load()
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    shrunk = Image.new(mode, (-(-picture.width // factor), -(-picture.height // factor)))
    shrunk.info = dict(picture.info)
    shrunk.info.pop("transparency", None)
    rows = max(1, BAND_ROWS // factor)
    for top in range(0, shrunk.height, rows):
        box = (0, top * factor, picture.width, min(picture.height, (top + rows) * factor))
        shrunk.paste(picture.crop(box).convert(mode).reduce(factor), (0, top))
    return shrunk


def _fit_mask(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    ImageOps.exif_transpose(picture, in_place=True)
    return _opaque(ImageOps.fit(picture, size, Image.Resampling.NEAREST))  # which mixes no pixels


def _opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB")


def _refuse(field: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {why}.", field=field)
