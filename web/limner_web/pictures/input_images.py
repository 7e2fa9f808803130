"""Input images of jobs, such as start and control pictures: read, checked, fitted to the job's size, and stored."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from PIL import ExifTags, Image, ImageCms, ImageOps, UnidentifiedImageError

from limner_shared.c2pa_manifests import manifest_in
from limner_shared.c2pa_signing import PictureSigner
from limner_shared.db import queries
from limner_shared.db.engine import Database
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import InvalidRequest, NotFound
from limner_shared.storage.blobs import Blobs
from limner_web.limits import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS
from limner_web.serving.offload import OffloadPool

SRGB: Final = ImageCms.ImageCmsProfile(cast("Any", ImageCms).createProfile("sRGB"))
OVERSAMPLING: Final = 2
"""An image is first reduced to this many times the needed size; the fitted result then looks the same."""
DATA_URL: Final = re.compile(r"data:image/(?:png|jpeg|webp);base64,", re.IGNORECASE)
BAND_ROWS: Final = 256
MAX_MANIFEST_BYTES: Final = 500_000
"""A longer C2PA manifest of a start picture is not kept: it would be in each picture that is made from it."""
REFERENCES: Final = "reference_images"
LONGEST_REFERENCE: Final = 4
SIDEWAYS: Final = 5
"""From this value on, an EXIF orientation swaps width and height."""
OPAQUE: Final = 128
"""The alpha value, 0 to 255, from which a pixel of a mask counts as opaque."""


class Inputs:
    """Stores the images that a client gives in the fields of a request, as PNGs of the job's size."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        storage: OffloadPool,
        pillow: OffloadPool,
        signer: PictureSigner | None = None,
    ) -> None:
        """`storage` runs the calls of `blobs`; `pillow` decodes, encodes and signs images.

        With a `signer`, the fitted form of a signed image names the image that was sent.
        """
        self._database = database
        self._blobs = blobs
        self._storage = storage
        self._pillow = pillow
        self._signer = signer

    def store(self, tenant_id: str, spec: JobSpec) -> JobSpec:
        """Return the job with its inputs replaced by the digests of the stored images; unchanged if it has none.

        The input of an earlier job is stored again: in this job's size, and so that its deletion for the other job does
        not reach this one.

        Raises InvalidRequest, which names the field, StorageFull, StorageFailed, or Overloaded.
        """
        stored: dict[str, str] = {}
        for field, fitted, data in self._fitted(tenant_id, spec):
            kept = self._with_provenance(tenant_id, fitted, data)
            stored[field] = self._storage.call_for(tenant_id, self._blobs.put_input, kept)
        return spec.with_inputs(stored) if stored else spec

    def check(self, tenant_id: str, spec: JobSpec) -> None:
        """Raise what `store` would raise for these inputs, and store nothing."""
        for _ in self._fitted(tenant_id, spec):
            continue

    def _with_provenance(self, tenant_id: str, fitted: bytes, data: bytes) -> bytes:
        """The fitted image, signed with the image that a client gave as its parent if that was signed."""
        if self._signer is None:
            return fitted
        found = manifest_in(data)
        if found is None or found.size > MAX_MANIFEST_BYTES:
            return fitted
        return self._pillow.call_for(tenant_id, self._signer.fitted, fitted, data, found.media_type)

    def _fitted(self, tenant_id: str, spec: JobSpec) -> Iterator[tuple[str, bytes, bytes]]:
        """Each image's field, its fitted form, and the file that a client gave."""
        for field, value in spec.inputs.items():
            data = self._read(tenant_id, field, value)
            fitted = self._pillow.call_for(tenant_id, fit, data, field, (spec.width, spec.height))
            if field == "mask" and spec.padding_mask_crop is not None:
                self._pillow.call_for(tenant_id, require_white, fitted, field)
            yield field, fitted, data

    def size(self, tenant_id: str, field: str, value: str) -> tuple[int, int]:
        """The width and height in pixels of an image that a client gives.

        Raises InvalidRequest, which names the field, StorageFailed, or Overloaded.
        """
        return self._pillow.call_for(tenant_id, size_of, self._read(tenant_id, field, value), field)

    def small(self, tenant_id: str, field: str, value: str, side: int) -> bytes:
        """An image that a client gives, as a square PNG of this side in pixels, cut from its middle; nothing is stored.

        Raises InvalidRequest, which names the field, StorageFailed, or Overloaded.
        """
        data = self._read(tenant_id, field, value)
        return self._pillow.call_for(tenant_id, fit, data, field, (side, side))

    def _of_job(self, tenant_id: str, field: str, job_id: str) -> bytes:
        """The picture that an earlier job of the tenant was given in the same field."""
        try:
            with self._database.read() as session:
                digest = queries.kept_inputs(session, tenant_id, job_id).get(field)
            if digest is not None:
                return self._storage.call_for(tenant_id, self._blobs.get_input, digest)
        except NotFound as error:
            raise _refuse(field, f"there is no such picture of {job_id[:60]}; it may have been deleted") from error
        raise _refuse(field, f"{job_id[:60]} has none, or it was deleted; send the picture itself")

    def _read(self, tenant_id: str, field: str, value: str) -> bytes:
        if value.startswith("job_"):
            return self._of_job(tenant_id, field, value)
        if value.startswith("img_"):
            try:
                with self._database.read() as session:
                    digest = queries.image(session, tenant_id, value).sha256
                return self._storage.call_for(tenant_id, self._blobs.get, digest)
            except NotFound as error:
                raise _refuse(field, f"there is no image {value[:60]}; it may have been deleted") from error
        data = read_data_url(value, field)
        if data is None:
            raise _refuse(
                field, "give the id of an image or job, or a data URL `data:image/png;base64,…` (or jpeg, webp)"
            )
        return data


def read_data_url(value: str, field: str) -> bytes | None:
    """Return the image file in a data URL; None if the value is none. Raises InvalidRequest, which names the field."""
    prefix = DATA_URL.match(value)
    if prefix is None:
        return None
    try:
        data = base64.b64decode(value[prefix.end() :], validate=True)
    except ValueError as error:  # also of text that is not ASCII
        raise _refuse(field, "the data after `base64,` is not valid base64") from error
    if len(data) > MAX_IMAGE_BYTES:
        raise _refuse(field, f"an image may have at most {MAX_IMAGE_BYTES // 1_000_000} MB")
    return data


@contextmanager
def opened(data: bytes, field: str) -> Generator[Image.Image]:
    """Open an image file that can be decoded in bounded memory. Raises InvalidRequest, which names the field."""
    try:
        with Image.open(io.BytesIO(data), formats=tuple(MAX_IMAGE_PIXELS)) as picture:
            most = MAX_IMAGE_PIXELS[picture.format or "PNG"]
            if picture.width * picture.height > most:
                raise _refuse(field, f"a {picture.format} image may have at most {most // 1_000_000} megapixels")
            yield picture
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _refuse(field, "the image has too many megapixels") from error
    except UnidentifiedImageError as error:
        raise _refuse(field, f"the data is not an image; send one of {', '.join(MAX_IMAGE_PIXELS)}") from error
    except (OSError, SyntaxError, ValueError) as error:  # what Pillow's decoders raise on damaged files
        raise _refuse(field, "the image file is damaged") from error


def fit(data: bytes, field: str, size: tuple[int, int]) -> bytes:
    """Return an image file as an RGB PNG of `size` (width, height in pixels).

    The image is turned upright as its EXIF data says, its transparency is laid over white, and its center is cropped to
    the new aspect ratio; a reference picture keeps its own, and is no larger. Raises InvalidRequest, which names the
    field.
    """
    with opened(data, field) as picture:
        if field.startswith(REFERENCES):
            fitted = _fit_reference(picture, field, max(size))
        else:
            fitted = _fit_mask(picture, size) if field == "mask" else _fit_image(picture, size)
    return _png(fitted)


def size_of(data: bytes, field: str) -> tuple[int, int]:
    """The width and height of an image file in pixels, once it is turned upright. Raises InvalidRequest."""
    with opened(data, field) as picture:
        turned = picture.getexif().get(ExifTags.Base.Orientation, 1) >= SIDEWAYS
        return (picture.height, picture.width) if turned else picture.size


def require_white(mask: bytes, field: str) -> None:
    """Raise InvalidRequest, which names the field, if a mask is black everywhere."""
    with opened(mask, field) as picture:
        if picture.convert("L").getbbox() is None:
            raise _refuse(field, "it is black everywhere, so there is no part to draw with padding_mask_crop")


def transparent_area(data: bytes, field: str) -> bytes:
    """Return a mask, as PNG, that is white where an image file is at least half transparent and black elsewhere.

    Raises InvalidRequest, which names the field.
    """
    with opened(data, field) as picture:
        if not picture.has_transparency_data:
            raise _refuse(field, "make it transparent where the image may change; this file has no transparency")
        ImageOps.exif_transpose(picture, in_place=True)
        alpha = picture.convert("RGBA").getchannel("A")
    return _png(alpha.point([255] * OPAQUE + [0] * (256 - OPAQUE)))


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=4)
    return buffer.getvalue()


def _fit_image(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    needed = (OVERSAMPLING * max(size), OVERSAMPLING * max(size))  # square, because EXIF data may rotate the image
    picture.draft("RGB", needed)  # decodes a JPEG at a reduced size
    factor = min(picture.width // needed[0], picture.height // needed[1])
    reduced = _reduce(picture, factor) if factor > 1 else picture
    ImageOps.exif_transpose(reduced, in_place=True)
    return ImageOps.fit(_opaque(_in_srgb(reduced)), size, Image.Resampling.LANCZOS)


def _fit_reference(picture: Image.Image, field: str, side: int) -> Image.Image:
    """The whole image, with no side longer than `side` pixels."""
    if max(picture.size) > LONGEST_REFERENCE * min(picture.size):
        raise _refuse(field, f"a reference picture may be at most {LONGEST_REFERENCE} times as long as wide")
    turned = picture.getexif().get(ExifTags.Base.Orientation, 1) >= SIDEWAYS
    width, height = (picture.height, picture.width) if turned else picture.size
    factor = min(1.0, side / max(width, height))
    return _fit_image(picture, (max(1, round(width * factor)), max(1, round(height * factor))))


def _reduce(picture: Image.Image, factor: int) -> Image.Image:
    """The image reduced by `factor`, because the later steps need memory for each pixel.

    It is reduced in bands, because each conversion makes a copy.
    """
    picture.load()
    mode = "RGBA" if picture.has_transparency_data else "RGB"
    reduced = Image.new(mode, (-(-picture.width // factor), -(-picture.height // factor)))
    reduced.info = dict(picture.info)
    reduced.info.pop("transparency", None)
    rows = max(1, BAND_ROWS // factor)
    for top in range(0, reduced.height, rows):
        box = (0, top * factor, picture.width, min(picture.height, (top + rows) * factor))
        reduced.paste(_in_bytes(picture.crop(box)).convert(mode).reduce(factor), (0, top))
    return reduced


def _fit_mask(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    ImageOps.exif_transpose(picture, in_place=True)
    return _opaque(
        ImageOps.fit(picture, size, Image.Resampling.NEAREST)
    )  # nearest neighbor, so that no pixels are mixed


def _in_bytes(picture: Image.Image) -> Image.Image:
    """A picture with values of 8 bits: of those with 16, Pillow would make all but the darkest white."""
    if not picture.mode.startswith("I"):
        return picture
    return picture.point(lambda value: value / 257).convert("L")


def _in_srgb(picture: Image.Image) -> Image.Image:
    """A picture in the colours that models were trained with: phones write Display P3. Of a damaged profile, nothing is
    read.
    """
    profile = picture.info.get("icc_profile")
    if not profile or picture.mode not in ("RGB", "RGBA"):
        return picture
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, SRGB, outputMode=picture.mode) or picture
    except (ImageCms.PyCMSError, OSError):
        return picture


def _opaque(picture: Image.Image) -> Image.Image:
    picture = _in_bytes(picture)
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    layered = picture.convert("RGBA")
    white = Image.new("RGBA", layered.size, "white")
    return Image.alpha_composite(white, layered).convert("RGB")


def _refuse(field: str, why: str) -> InvalidRequest:
    return InvalidRequest(f"{field}: {why}.", field=field)
