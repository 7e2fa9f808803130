"""Turns a picture's pixels into a file and its record: PNG with provenance metadata, digest and receipt."""

from __future__ import annotations

import hashlib
import io
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner_shared.db.ledger import NewImage
from limner_shared.domain.replay import DRAWN_AS, SCENE, STYLE, run_lengths
from limner_shared.errors import GenerationFailed
from limner_worker.engine.job_run import Row
from limner_worker.generators.base import Picture
from limner_worker.stages.interpretation.presentation import alt_text
from limner_worker.stages.provenance import PNG_KEY, xmp


def encode_picture(row: Row, fingerprint: dict[str, Any]) -> tuple[bytes, NewImage]:
    """Return a row's picture as PNG, and its image record, which is true once the bytes are stored.

    Raises GenerationFailed if the row has no picture.
    """
    if row.picture is None:
        raise GenerationFailed
    spec = row.task.spec
    png = encode_png(row.picture, xmp(spec, row.task.seed) if spec.provenance else None)
    height, width, _ = row.picture.shape
    receipt = {"seed": row.task.seed, "buckets": run_lengths(row.task.buckets), **fingerprint}
    if row.task.style is not None:
        receipt[STYLE] = row.task.style
    if row.task.drawn_as is not None:
        receipt[DRAWN_AS] = row.task.drawn_as
    if row.task.scene is not None:
        receipt[SCENE] = row.task.scene.recorded()
    if spec.scheduler:
        receipt["sampler"] = spec.scheduler
    return png, NewImage(
        sha256=hashlib.sha256(png).hexdigest(),
        media_type="image/png",
        width=width,
        height=height,
        size_bytes=len(png),
        seed=row.task.seed,
        receipt=receipt,
        alt_text=alt_text(spec, row.task.seed, row.task.drawn_as, row.task.scene),
    )


def encode_png(picture: Picture, packet: str | None = None) -> bytes:
    """Encode the pixels and an XMP packet as PNG. Equal pixels and packets give equal bytes."""
    buffer = io.BytesIO()
    info = PngInfo()
    if packet is not None:
        info.add_itxt(PNG_KEY, packet)
    Image.fromarray(picture).save(buffer, "PNG", compress_level=4, pnginfo=info)
    return buffer.getvalue()
