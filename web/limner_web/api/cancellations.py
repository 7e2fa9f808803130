"""Cancellation of all that waits, or of what waits of a model or a priority class."""

from __future__ import annotations

from collections.abc import Sequence

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field

from limner_shared.db import ledger
from limner_shared.db.ledger import Change
from limner_shared.db.tables import Cancellation
from limner_shared.db.views import as_datetime
from limner_shared.domain.account_views import CanceledView, CancellationList, CancellationView
from limner_shared.domain.cancellations import CancellationState
from limner_shared.domain.inputs import RequestedName
from limner_shared.domain.jobs import Priority
from limner_web.auth import tenant_id
from limner_web.limits import CANCELED_AT_ONCE
from limner_web.services import Services, get_services

bp = APIBlueprint("cancellations", __name__, url_prefix="/api/v1", tag="Jobs")


class WaitingRequest(BaseModel):
    """Which of your waiting jobs are meant; without a field, all."""

    model_config = ConfigDict(extra="forbid")
    model: RequestedName | None = Field(default=None, description="Only those of this model.")
    priority: Priority | None = Field(default=None, description="Only those of this priority class.")
    in_background: bool = Field(
        default=False,
        strict=True,
        description="Whether the service cancels those beyond the first 1000 too: within seconds to minutes. "
        "`GET /cancellations` shows its progress, and `POST /cancellations/{id}/stop` stops it.",
    )


@bp.post("/jobs/cancel")
@bp.input(WaitingRequest, arg_name="body")
@bp.output(CanceledView)
def cancel_waiting_jobs(body: WaitingRequest) -> CanceledView:
    """Cancel the jobs that wait.

    Cancels your jobs that have not started, the oldest first: those of bulks and conversations too, and those that are
    scheduled or on hold. Running jobs go on, and jobs that are submitted later stay. One request cancels at most 1000;
    with `in_background`, the service cancels the others afterwards.
    """
    services = get_services()
    with services.database.read() as session:
        found = ledger.find_waiting(session, tenant_id(), body.model, body.priority, CANCELED_AT_ONCE + 1)
    changes, more, order = (_begin if body.in_background else _cancel_some)(services, body, found)
    services.hints.changed(changes)
    return CanceledView(canceled=len(changes), more=more, cancellation=order)


@bp.get("/cancellations")
@bp.output(CancellationList)
def list_cancellations() -> CancellationList:
    """List cancellations.

    Returns your cancellations in the background that run, each with the number of jobs that it has canceled so far.
    """
    with get_services().database.read() as session:
        return CancellationList(items=[_view(each) for each in ledger.cancellations(session, tenant_id())])


@bp.get("/cancellations/<id:cancellation_id>")
@bp.output(CancellationView)
def get_cancellation(cancellation_id: str) -> CancellationView:
    """Retrieve a cancellation.

    Returns a cancellation in the background. Of those that have ended, the newest 100 are kept for an hour after
    they were ordered, or longer.
    """
    with get_services().database.read() as session:
        return _view(ledger.cancellation(session, tenant_id(), cancellation_id))


@bp.post("/cancellations/<id:cancellation_id>/stop")
@bp.output(CancellationView)
def stop_cancellation(cancellation_id: str) -> CancellationView:
    """Stop a cancellation.

    The jobs that it has not canceled yet stay in the queue; those that it has canceled remain canceled. It has no
    effect on a cancellation that has ended: its `status` says whether it was stopped or had `finished`.
    """
    with get_services().database.write() as session:
        return _view(ledger.stop_cancellation(session, tenant_id(), cancellation_id))


def _cancel_some(
    services: Services, _body: WaitingRequest, found: Sequence[str]
) -> tuple[list[Change], bool, str | None]:
    with services.database.write() as session:
        changes = ledger.cancel_waiting(session, found[:CANCELED_AT_ONCE])
    return changes, len(changes) < len(found), None


def _begin(services: Services, body: WaitingRequest, found: Sequence[str]) -> tuple[list[Change], bool, str | None]:
    """Store the order and cancel its first jobs, in one transaction: otherwise the dispatcher could cancel them first,
    and the answer would count none. The dispatcher cancels the rest.
    """
    if not found:
        return [], False, None
    with services.database.write() as session:
        order = ledger.order_cancellation(session, tenant_id(), body.model, body.priority)
        if order is None:  # the jobs have started meanwhile
            return [], False, None
        first, is_all = found[:CANCELED_AT_ONCE], len(found) <= CANCELED_AT_ONCE
        changes = ledger.sweep_cancellation(session, order, first, all_=is_all)
    return changes, len(changes) < len(found), order.id


def _view(row: Cancellation) -> CancellationView:
    return CancellationView(
        id=row.id,
        model=row.model,
        priority=None if row.priority is None else Priority(row.priority),
        canceled=row.canceled,
        status=CancellationState(row.state),
        ordered_at=as_datetime(row.ordered_at),
    )
