"""Loads a job's input pictures from the picture store into its rows."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from limner_shared.c2pa_signing import is_signed
from limner_shared.domain.inputs import reference_field
from limner_shared.errors import DamagedInput, ObjectLost, ObjectUnreadable
from limner_shared.storage.blobs import Blobs
from limner_shared.telemetry import get_logger
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture

log = get_logger(__name__)


def load_inputs(blobs: Blobs, job: JobRun) -> None:
    """Load the pictures that the job's spec names into each of its rows.

    Raises ObjectLost if one is missing or damaged, DamagedInput if it cannot be decoded, ObjectUnreadable if the store
    returns others and not this one, or StorageFailed or StorageFull.
    """
    spec = job.claim.spec
    try:
        files = {field: blobs.get_input_checked(digest) for field, digest in spec.inputs.items()}
    except ObjectLost as error:
        log.error("an object is lost", job=job.id, **error.details)
        raise
    except ObjectUnreadable as error:
        log.error("an object cannot be read, others can", job=job.id, **error.details)
        raise
    pictures = {field: _decoded(data) for field, data in files.items()}
    job.signed_inputs = {field: data for field, data in files.items() if is_signed(data)}
    references = tuple(pictures.pop(reference_field(index)) for index in range(len(spec.reference_images)))
    for row in job.rows:
        row.task = replace(row.task, **pictures, reference_images=references)


def _decoded(data: bytes) -> Picture:
    """Return uint8 [height, width, 3]; the web process stored it as RGB in the job's size."""
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:  # Pillow's, for damaged files
        raise DamagedInput from error
