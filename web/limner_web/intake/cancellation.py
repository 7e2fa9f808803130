"""Cancellation of a single job. Every API cancels through here."""

from __future__ import annotations

from limner_shared.db import ledger, queries
from limner_shared.db.tables import Job
from limner_shared.domain.jobs import JobState
from limner_web.services import Services


def cancel_job(services: Services, tenant_id: str, job_id: str) -> JobState:
    """Cancel a job that has not ended, and return its state now: canceled, or the state in which it had ended.

    Raises NotFound.
    """
    with services.database.write() as session:
        changes = ledger.cancel(session, (Job.id == job_id) & (Job.tenant_id == tenant_id))
        state = JobState(queries.job(session, tenant_id, job_id).state)  # read after it: a job may end at any moment
    services.hints.changed(changes)
    return state
