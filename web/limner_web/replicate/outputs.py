"""The pictures of predictions."""

from __future__ import annotations

import base64
from collections.abc import Iterator

from limner_shared.db.signed_links import ANSWER_SECONDS
from limner_shared.domain.predictions import OutputForm
from limner_shared.domain.views import JobView
from limner_web import synchronous_jobs
from limner_web.pictures.picture_formats import MEDIA_TYPES
from limner_web.services import Services


def outputs(services: Services, tenant_id: str, job: JobView, origin: str, *, as_data: bool) -> list[str]:
    """The job's pictures as links or as data URLs, in the form that the prediction asked for.

    Raises NotFound once their bytes were deleted, StorageFailed or Overloaded.
    """
    form = OutputForm.read(job.metadata)
    if as_data:
        media_type = MEDIA_TYPES[form.kind]
        files = _files(services, tenant_id, job, form)
        return [f"data:{media_type};base64,{base64.b64encode(data).decode()}" for data in files]
    return [origin + services.links.make(image.id, ANSWER_SECONDS)[0] + form.query for image in job.images]


def _files(services: Services, tenant_id: str, job: JobView, form: OutputForm) -> Iterator[bytes]:
    for image in job.images:
        stored = synchronous_jobs.stored_picture(services, tenant_id, image)
        if form.as_stored:
            yield stored
        else:
            yield services.renditions.convert(tenant_id, stored, form.kind, form.quality, form.fit)
