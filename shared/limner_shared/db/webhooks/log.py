"""The log of deliveries: what clients read, what they repeat, and what retention deletes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, delete, select, text, union_all, update
from sqlalchemy.orm import Session

from limner_shared.db.engine import now
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.webhook_tables import ENDED, WebhookAttempt, WebhookDelivery, WebhookEvent
from limner_shared.domain.webhooks import GIVE_UP_SECONDS, DeliveryState
from limner_shared.errors import InvalidState, NotFound

PREFIX: Final = "whd"
"""The prefix of the ids of deliveries."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """A filter of deliveries; a field that is None does not filter. `first` and `end` bound the ids, which begin with
    the time of creation: `first` is included.
    """

    state: DeliveryState | None = None
    endpoint_id: str | None = None
    first: str | None = None
    end: str | None = None


def page(
    session: Session, tenant_id: str, which: DeliveryFilter, limit: int
) -> list[tuple[WebhookDelivery, WebhookEvent]]:
    """The newest deliveries of a tenant that a filter admits, newest first, each with its event."""
    ids = _ids(tenant_id, which, limit, newest=True)
    query = select(WebhookDelivery, WebhookEvent).join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
    rows = session.execute(query.where(WebhookDelivery.id.in_(ids)).order_by(WebhookDelivery.id.desc()))
    return [(row[0], row[1]) for row in rows]


def get(session: Session, tenant_id: str, delivery_id: str) -> tuple[WebhookDelivery, WebhookEvent]:
    """A tenant's delivery and its event. Raises NotFound."""
    query = select(WebhookDelivery, WebhookEvent).join(WebhookEvent, WebhookEvent.id == WebhookDelivery.event_id)
    mine = (WebhookDelivery.id == delivery_id) & (WebhookDelivery.tenant_id == tenant_id)
    found = session.execute(query.where(mine)).one_or_none()
    if found is None:
        raise NotFound(f"There is no webhook delivery {delivery_id}.")
    return found[0], found[1]


def attempts(session: Session, delivery_id: str) -> Sequence[WebhookAttempt]:
    """The attempts at a delivery, the oldest first."""
    query = select(WebhookAttempt).where(WebhookAttempt.delivery_id == delivery_id)
    return session.scalars(query.order_by(WebhookAttempt.id)).all()


def redeliver(session: Session, tenant_id: str, delivery_id: str) -> None:
    """Send a delivery again: at once, and after failures for three days.

    Raises NotFound, or InvalidState while it is being sent.
    """
    delivery, _ = get(session, tenant_id, delivery_id)
    if not _queue(session, [delivery_id]):
        raise InvalidState("The delivery is being sent: look at it again in a minute.", state=delivery.state)


def redeliver_range(session: Session, tenant_id: str, which: DeliveryFilter, limit: int) -> tuple[int, str | None]:
    """Send the deliveries that a filter admits again, at most `limit`, the oldest first. Returns how many, and the last
    id if there may be more after it.
    """
    ids = list(session.scalars(_ids(tenant_id, which, limit, newest=False)))
    last = max(ids) if len(ids) == limit else None
    return len(_queue(session, ids)) if ids else 0, last


def _queue(session: Session, ids: Sequence[str]) -> Sequence[str]:
    """→ pending, due now, for those of these deliveries that are not being sent; returns their ids."""
    values = {"state": DeliveryState.PENDING, "tries": 0, "next_at": now(), "ended_at": None}
    idle = WebhookDelivery.id.in_(ids) & (WebhookDelivery.state != DeliveryState.SENDING)
    statement = update(WebhookDelivery).where(idle).values(deadline_at=now() + GIVE_UP_SECONDS, **values)
    return session.scalars(statement.returning(WebhookDelivery.id), execution_options=NO_SYNC).all()


def _ids(tenant_id: str, which: DeliveryFilter, limit: int, *, newest: bool) -> Select[Any]:
    """The ids of a page. Each state is read from the end of one index, so that no scan looks for a rare state."""
    order = WebhookDelivery.id.desc() if newest else WebhookDelivery.id
    query = select(WebhookDelivery.id).where(WebhookDelivery.tenant_id == tenant_id).order_by(order).limit(limit)
    if which.first is not None:
        query = query.where(WebhookDelivery.id >= which.first)
    if which.end is not None:
        query = query.where(WebhookDelivery.id < which.end)
    if which.endpoint_id is not None:
        query = query.where(WebhookDelivery.endpoint_id == which.endpoint_id)
    if which.endpoint_id is None and which.state is None:
        return query
    states = list(DeliveryState) if which.state is None else [which.state]
    each = [select(query.where(WebhookDelivery.state == state).subquery().c.id) for state in states]
    merged = union_all(*each).subquery()
    return select(merged.c.id).order_by(merged.c.id.desc() if newest else merged.c.id).limit(limit)


# --- retention -------------------------------------------------------------------------------------------------------


def prune(session: Session, limit: int, seconds: float) -> int:
    """Delete deliveries that ended more than `seconds` ago, with their attempts and events, at most `limit`."""
    old = select(WebhookDelivery.id).where(text(f"webhook_deliveries.{ENDED}"))
    due = old.where(WebhookDelivery.ended_at < now() - seconds).order_by(WebhookDelivery.ended_at).limit(limit)
    ids = session.scalars(due).all()
    if ids:
        _delete(session, ids)
    return len(ids)


def forget_subjects(session: Session, subject_ids: Sequence[str]) -> None:
    """Delete the events of these jobs and bulks, and all deliveries of them, also those that were not sent yet."""
    ids = _deliveries_of(session, subject_ids)
    if ids:
        _delete(session, ids)


def blank_subjects(session: Session, subject_ids: Sequence[str]) -> None:
    """Delete what was sent of these jobs and what came back, which may hold prompts. What is still to be sent is made
    again without them.
    """
    ids = _deliveries_of(session, subject_ids)
    if ids:
        # The events first: the duty that makes bodies and records answers locks them, and sees that they are blank.
        events = WebhookEvent.subject_id.in_(subject_ids)
        session.execute(update(WebhookEvent).where(events).values(body=None), execution_options=NO_SYNC)
        blank = update(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(ids)).values(answer=None)
        session.execute(blank, execution_options=NO_SYNC)


def _deliveries_of(session: Session, subject_ids: Sequence[str]) -> Sequence[str]:
    """The deliveries of events of these jobs and bulks: two lookups, since a planner may read a whole table to join."""
    events = session.scalars(select(WebhookEvent.id).where(WebhookEvent.subject_id.in_(subject_ids))).all()
    return (
        session.scalars(select(WebhookDelivery.id).where(WebhookDelivery.event_id.in_(events))).all() if events else []
    )


def _delete(session: Session, ids: Sequence[str]) -> None:
    """Delete deliveries with their attempts, and the events that no other delivery has."""
    session.execute(delete(WebhookAttempt).where(WebhookAttempt.delivery_id.in_(ids)), execution_options=NO_SYNC)
    gone = delete(WebhookDelivery).where(WebhookDelivery.id.in_(ids)).returning(WebhookDelivery.event_id)
    events = set(session.scalars(gone, execution_options=NO_SYNC))
    used = select(WebhookDelivery.id).where(WebhookDelivery.event_id == WebhookEvent.id).exists()
    session.execute(delete(WebhookEvent).where(WebhookEvent.id.in_(events), ~used), execution_options=NO_SYNC)
