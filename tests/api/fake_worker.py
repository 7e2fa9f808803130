"""Acts as the worker through the ledger, for tests of the web application without a worker."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from flask import Flask
from PIL import Image

from limner_shared.db import ledger
from limner_shared.db.ledger import Claim, NewImage
from limner_shared.domain.embeddings import Embedding


def png(colour: str, mode: str = "RGB") -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, (256, 256), colour).save(buffer, "PNG")
    return buffer.getvalue()


def start(app: Flask, job_id: str, owner: str = "a worker") -> Claim:
    with app.extensions["limner"].database.write() as session:
        [claim] = ledger.claim(session, [job_id], owner, 60)
    return claim


def finish(
    app: Flask,
    claim: Claim,
    *pictures: bytes,
    receipt: dict[str, Any] | None = None,
    embeddings: Sequence[Embedding | None] = (),
) -> None:
    """`embeddings` are those of the pictures, in order; without them the pictures have none."""
    services, spec = app.extensions["limner"], claim.spec
    images = [
        NewImage(
            *(services.blobs.put(data), "image/png", 256, 256, len(data), spec.image_seed(index), receipt or {}),
            embedding=embeddings[index] if embeddings else None,
        )
        for index, data in enumerate(pictures)
    ]
    with services.database.write() as session:
        changes = ledger.finish(session, [ledger.Result(claim.id, claim.attempt, images)])
    assert changes
    services.hints.changed(changes)
