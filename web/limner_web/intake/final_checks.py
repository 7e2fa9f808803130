"""The last two checks of a job before it is stored, which all APIs share: its text, and its input pictures."""

from __future__ import annotations

from limner_shared.domain.jobs import JobSpec
from limner_web.services import Services


def check_and_store_inputs(services: Services, tenant_id: str, spec: JobSpec) -> JobSpec:
    """Return the job with its input pictures stored, if its text is allowed.

    Raises ModerationBlocked, InvalidRequest, StorageFull, StorageFailed, or Overloaded.
    """
    return services.inputs.store(tenant_id, services.moderation.check(tenant_id, spec))
