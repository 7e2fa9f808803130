"""What image-to-image and inpainting start from: read once at the edge, checked, and stored as a worker needs it."""

from __future__ import annotations

import base64
import binascii
import io
import re
from typing import Final

from PIL import Image, ImageOps, UnidentifiedImageError

from limner_shared import queries
from limner_shared.blobs import Blobs
from limner_shared.database import Database
from limner_shared.errors import InvalidRequest, NotFound
from limner_shared.jobs import JobSpec

FORMATS: Final = ("PNG", "JPEG", "WEBP")
MAX_BYTES: Final = 10_000_000
MAX_PIXELS: Final = 64_000_000
DATA_URL: Final = re.compile(r"data:image/(?:png|jpeg|webp);base64,", re.IGNORECASE)
RESAMPLING: Final = {"image": Image.Resampling.LANCZOS, "mask": Image.Resampling.NEAREST}


class Inputs:
    """Replaces what a client named in `image` and `mask` by the digests of stored PNGs of the job's size."""

    def __init__(self, database: Database, blobs: Blobs) -> None:
        self._database = database
        self._blobs = blobs

    def store(self, tenant_id: str, spec: JobSpec) -> JobSpec:
        """The job with its inputs stored; unchanged if it has none.

        Raises InvalidRequest that names the field, StorageFull or StorageFailed.
        """
        given = {field: value for field in RESAMPLING if (value := getattr(spec, field)) is not None}
        stored: dict[str, str] = {}
        for field, value in given.items():
            data = self._read(tenant_id, field, value)
            stored[field] = self._blobs.put_input(fit(data, field, (spec.width, spec.height)))
        return spec.model_copy(update=stored) if stored else spec

    def _read(self, tenant_id: str, field: str, value: str) -> bytes:
        if value.startswith("img_"):
            try:
                with self._database.read() as session:
                    return self._blobs.get(queries.image(session, tenant_id, value).sha256)
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
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            upright = ImageOps.exif_transpose(picture)
            fitted = ImageOps.fit(_opaque(upright), size, RESAMPLING[field])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refuse(field, f"a picture may have at most {MAX_PIXELS // 1_000_000} megapixels") from error
    except UnidentifiedImageError as error:
        raise _refuse(field, f"this is no picture of {', '.join(FORMATS)} that can be read") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged files
        raise _refuse(field, "the picture is damaged") from error
    buffer = io.BytesIO()
    fitted.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB")


def _refuse(field: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {why}.", field=field)
