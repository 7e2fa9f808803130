"""The pictures of predictions."""

from __future__ import annotations

import base64

from limner_shared.db.signed_links import ANSWER_SECONDS
from limner_shared.domain.views import JobView
from limner_web import waiting
from limner_web.services import Services


def outputs(services: Services, job: JobView, origin: str, *, as_data: bool) -> list[str]:
    """The job's pictures as links or as data URLs. Raises NotFound once their bytes were deleted, or StorageFailed."""
    if not as_data:
        return [origin + services.links.make(image.id, ANSWER_SECONDS)[0] for image in job.images]
    files = ((image.media_type, waiting.picture(services, image)) for image in job.images)
    return [f"data:{media_type};base64,{base64.b64encode(data).decode()}" for media_type, data in files]
