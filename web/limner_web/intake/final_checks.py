"""The last checks of a job before it is stored, which all APIs share: what its model takes, its text, its pictures."""

from __future__ import annotations

from limner_shared.domain.jobs import JobSpec
from limner_web.services import Services


def check_and_store_inputs(services: Services, tenant_id: str, spec: JobSpec, *, store: bool = True) -> JobSpec:
    """Return the job with its input pictures stored, if its model takes what it asks for and its text is allowed.

    Without `store`, nothing is stored: for a job that will not be queued, whose errors are to be known.

    Raises ModerationBlocked, InvalidRequest, StorageFull, StorageFailed, or Overloaded.
    """
    card = services.catalogue.get(spec.model)
    services.adapter_folders.check(card, spec)
    if card.family == "diffusers":
        services.worker_limits.require_supported(spec)
    allowed = services.moderation.check(tenant_id, spec)
    if store:
        return services.inputs.store(tenant_id, allowed)
    services.inputs.check(tenant_id, allowed)
    return allowed
