"""From a request to the queue: the one way in, for single jobs and bulks, whatever API they came by."""

from __future__ import annotations

from limner_shared import ledger
from limner_shared.celery_app import publish
from limner_shared.jobs import JobRequest, Priority
from limner_shared.ledger import Change, NewJob
from limner_shared.telemetry import get_logger
from limner_web.services import Services

log = get_logger(__name__)


def submit(services: Services, tenant_id: str, request: JobRequest) -> str:
    """Queue one job and return its id. Raises InvalidRequest."""
    card, spec = services.catalogue.resolve(request)
    new = NewJob(spec, card.cost(spec), request.priority or Priority.NORMAL, request.metadata)
    with services.database.write() as session:
        submission = ledger.submit(session, tenant_id, [new], window=services.settings.window)
    announce(services, submission.changes, submission.released)
    return submission.changes[0].id


def announce(services: Services, changes: list[Change], released: list[str]) -> None:
    """After the commit: publish what was released, and tell. Redis may be away; then the dispatcher makes up for it."""
    if released:
        try:
            publish(services.celery, changes[0].model, released)
        except Exception as error:  # noqa: BLE001 - kombu raises what its transport raises; the job is safe already
            log.warning("could not publish, left to the dispatcher", jobs=len(released), error=repr(error)[:200])
    services.hints.changed(changes)
