"""Pauses of models, tenants and workers, for the operator."""

from __future__ import annotations

from apiflask import APIBlueprint
from sqlalchemy.orm import Session

from limner_shared.db import pause_queries
from limner_shared.db.accounts import pauses
from limner_shared.db.tables import Pause
from limner_shared.db.views import as_datetime
from limner_shared.domain.access import Expiry
from limner_shared.domain.account_views import PauseList, PauseView
from limner_shared.domain.pauses import PauseKind, PauseRequest
from limner_shared.errors import InvalidRequest
from limner_shared.messaging.workers import find_workers
from limner_web.auth import actor
from limner_web.services import get_services

bp = APIBlueprint("pauses", __name__, url_prefix="/api/v1/pauses", tag="Operation")


@bp.post("")
@bp.input(PauseRequest, arg_name="body")
@bp.output(PauseView)
@bp.doc(responses={404: "There is no such tenant or worker"})
def pause(body: PauseRequest) -> PauseView:
    """Pause a model, a tenant or a worker.

    Jobs of the model or tenant are still accepted, and wait until the pause ends; running jobs are finished. A worker
    drains: it takes no new jobs, and hands back those that it has not finished after `LIMNER_SHUTDOWN_SECONDS`. A
    repeated request changes the reason and the end of the pause. Needs the scope `admin` and the tenant `local`.
    """
    services = get_services()
    until = None if body.until is None else Expiry(body.until.timestamp(), is_relative=False)
    with services.database.read() as session:  # Redis is asked for workers, and no writer should wait for that
        kind, subject = _subject(session, body)
    with services.database.write() as session:
        row = pauses.pause(session, kind, subject, body.reason, until, actor=actor())
        return _views(session, [row])[0]


@bp.get("")
@bp.output(PauseList)
def list_pauses() -> PauseList:
    """List pauses.

    Returns the models, tenants and workers that are paused, in the order of their pauses. Needs the scope `admin` and
    the tenant `local`.
    """
    with get_services().database.read() as session:
        return PauseList(items=_views(session, list(pause_queries.pauses(session))))


@bp.delete("/<id:pause_id>")
@bp.output({}, status_code=204)
@bp.doc(responses={404: "There is no such pause"})
def resume(pause_id: str) -> str:
    """Resume a model, a tenant or a worker.

    Ends a pause: the jobs that wait are released in their order, and a worker takes jobs again. Needs the scope `admin`
    and the tenant `local`.
    """
    services = get_services()
    with services.database.write() as session:
        pauses.resume(session, pause_id, actor=actor())
        services.wakeups.in_commit(session)
    services.wakeups.after_commit()
    return ""


def _subject(session: Session, body: PauseRequest) -> tuple[PauseKind, str]:
    """What a request means. Raises NotFound, or InvalidRequest if several workers have this name."""
    if body.model is not None:
        return PauseKind.MODEL, get_services().catalogue.get(body.model).name
    if body.tenant is not None:
        return PauseKind.TENANT, pauses.tenant_named(session, body.tenant)
    return PauseKind.WORKER, _running_worker(session, body.worker or "")


def _running_worker(session: Session, name: str) -> str:
    """The id of a running worker. Raises NotFound, or InvalidRequest if several have this name."""
    found = find_workers(session, get_services().hints.redis, name)
    if len(found) > 1:
        raise InvalidRequest(f"Several workers run on {name}: {', '.join(found)}. Name one of them.", field="worker")
    return found[0]


def _views(session: Session, rows: list[Pause]) -> list[PauseView]:
    names = pauses.tenant_names(session, rows)
    return [
        PauseView(
            id=row.id,
            model=row.subject if row.kind == PauseKind.MODEL else None,
            tenant=names.get(row.subject, row.subject) if row.kind in pauses.TENANT_KINDS else None,
            worker=row.subject if row.kind == PauseKind.WORKER else None,
            own=row.kind == PauseKind.OWN,
            reason=row.reason,
            until=as_datetime(row.until),
            paused_at=as_datetime(row.paused_at),
            actor=row.actor,
        )
        for row in rows
    ]
