"""The pause of a tenant's own queue."""

from __future__ import annotations

from apiflask import APIBlueprint
from sqlalchemy.orm import Session

from limner_shared.db import pause_queries
from limner_shared.db.accounts import pauses
from limner_shared.domain.access import Expiry
from limner_shared.domain.account_views import OwnPauseView
from limner_shared.domain.pauses import OwnPauseRequest, PauseKind
from limner_web.auth import actor, tenant_id
from limner_web.services import get_services
from limner_web.view_builders import pause_notice

bp = APIBlueprint("own_pause", __name__, url_prefix="/api/v1/pause", tag="Jobs")


@bp.get("")
@bp.output(OwnPauseView)
def get_own_pause() -> OwnPauseView:
    """Retrieve the pause of your queue.

    Returns your own pause and the operator's. Each is null if there is none.
    """
    with get_services().database.read() as session:
        return _view(session)


@bp.put("")
@bp.input(OwnPauseRequest, arg_name="body")
@bp.output(OwnPauseView)
def pause_own_queue(body: OwnPauseRequest) -> OwnPauseView:
    """Pause your queue.

    Your jobs are still accepted, and wait until you resume your queue, or until the time `until`; running jobs are
    finished. A repeated request changes the reason and the end of the pause.
    """
    until = None if body.until is None else Expiry(body.until.timestamp(), is_relative=False)
    with get_services().database.write() as session:
        pauses.pause(session, PauseKind.OWN, tenant_id(), body.reason, until, actor=actor())
        return _view(session)


@bp.delete("")
@bp.output(OwnPauseView)
def resume_own_queue() -> OwnPauseView:
    """Resume your queue.

    Ends your own pause: the jobs that wait are released in their order, unless the operator has paused your queue as
    well. It has no effect on a queue that you have not paused.
    """
    services = get_services()
    with services.database.write() as session:
        pauses.resume_own(session, tenant_id(), actor=actor())
        services.wakeups.in_commit(session)
        view = _view(session)
    services.wakeups.after_commit()
    return view


def _view(session: Session) -> OwnPauseView:
    own = pause_queries.pause_of_tenant(session, tenant_id(), PauseKind.OWN)
    operators = pause_queries.pause_of_tenant(session, tenant_id(), PauseKind.TENANT)
    return OwnPauseView(
        own=None if own is None else pause_notice(own),
        operator=None if operators is None else pause_notice(operators),
    )
