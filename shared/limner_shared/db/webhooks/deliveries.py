"""Deliveries on their way: which receivers have due ones, claims with a lease, and results. An attempt is fenced by
its number, as an attempt at a job is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Select, bindparam, case, func, insert, literal, select, text, update
from sqlalchemy.orm import Session, aliased

from limner_shared import tracing
from limner_shared.db.engine import now
from limner_shared.db.many_rows import NO_SYNC
from limner_shared.db.tables import Job
from limner_shared.db.webhook_tables import OPEN, WebhookAttempt, WebhookDelivery, WebhookEndpoint, WebhookEvent
from limner_shared.db.webhooks.endpoints import current_secret, signing_secrets
from limner_shared.domain.webhooks import DeliveryState, DueReceiver

OPEN_DELIVERIES: Final = f"webhook_deliveries.{OPEN}"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery that the caller sends until its lease ends."""

    id: str
    attempt: int
    tries: int
    receiver: str
    tenant_id: str
    url: str
    event: WebhookEvent
    secrets: Sequence[str]
    is_own: bool
    """Whether the webhook is the job's or bulk's own, not an endpoint."""
    traceparent: str | None = None
    """The span under which the job is traced."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of one attempt. `state` is what the delivery is after it: pending, to be sent again after
    `repeat_seconds`, or ended.
    """

    delivery_id: str
    attempt: int
    state: DeliveryState
    url: str
    seconds: float
    repeat_seconds: float = 0.0
    address: str | None = None
    request_headers: Mapping[str, str] = field(default_factory=dict[str, str])
    status: int | None = None
    answer: str | None = None
    error: str | None = None
    error_message: str | None = None


def due_receivers(session: Session, after: str, limit: int) -> tuple[list[DueReceiver], str]:
    """Look at the next `limit` receivers after the key `after` that have anything to send: those with due deliveries,
    and the key after which to continue, "" at the end. Two index probes for each, regardless of their deliveries.
    """
    delivery = WebhookDelivery
    first = select(func.min(delivery.receiver).label("receiver"), literal(1).label("number"))
    found = first.where(text(OPEN), delivery.receiver > after).cte("receivers", recursive=True)
    following = select(func.min(delivery.receiver)).where(text(OPEN), delivery.receiver > found.c.receiver)
    step = select(following.scalar_subquery(), found.c.number + 1)
    found = found.union_all(step.where(found.c.receiver.is_not(None), found.c.number < limit))
    earliest = (
        select(delivery.id)
        .where(text(OPEN), delivery.receiver == found.c.receiver)
        .order_by(delivery.receiver, delivery.next_at)
        .limit(1)
        .scalar_subquery()
    )
    head = aliased(delivery)
    query = select(head.receiver, head.tenant_id, now() - head.next_at).join_from(found, head, head.id == earliest)
    rows = session.execute(query).all()
    due = [DueReceiver(row[0], row[1], row[2]) for row in rows if row[2] >= 0]
    return due, max(row[0] for row in rows) if len(rows) == limit else ""


def claim(session: Session, receiver: str, limit: int, lease_seconds: float) -> list[Claimed]:
    """Claim the due deliveries of a receiver that no other transaction has locked, at most `limit`, the earliest first.

    Those whose endpoint was deleted are canceled. A delivery whose sender died is due again when its lease has ended.
    """
    due = select(WebhookDelivery.id).where(
        text(OPEN_DELIVERIES), WebhookDelivery.receiver == receiver, WebhookDelivery.next_at <= now()
    )
    order = due.order_by(WebhookDelivery.receiver, WebhookDelivery.next_at).limit(limit)
    ids = session.scalars(order.with_for_update(skip_locked=True)).all()
    if not ids:
        return []
    values = {
        "state": DeliveryState.SENDING,
        "attempt": WebhookDelivery.attempt + 1,
        "tries": WebhookDelivery.tries + 1,
        "next_at": now() + lease_seconds,
    }
    statement = update(WebhookDelivery).where(WebhookDelivery.id.in_(ids)).values(values).returning(WebhookDelivery)
    options = {"synchronize_session": False, "populate_existing": True}
    rows = session.scalars(statement, execution_options=options).all()
    endpoint_ids = {row.endpoint_id for row in rows if row.endpoint_id is not None}
    known = select(WebhookEndpoint.id, WebhookEndpoint.url).where(WebhookEndpoint.id.in_(endpoint_ids))
    urls = {row.id: row.url for row in session.execute(known)} if endpoint_ids else {}
    _cancel(session, [row.id for row in rows if row.endpoint_id is not None and row.endpoint_id not in urls])
    live = [row for row in rows if row.endpoint_id is None or row.endpoint_id in urls]
    return _claimed(session, live, urls)


def _claimed(session: Session, rows: Sequence[WebhookDelivery], urls: Mapping[str, str]) -> list[Claimed]:
    owners = sorted({row.endpoint_id or row.tenant_id for row in rows})
    for tenant_id in sorted({row.tenant_id for row in rows if row.endpoint_id is None}):
        current_secret(session, tenant_id)  # the first one is made when it is needed
    secrets = signing_secrets(session, owners) if owners else {}
    # Locked until the bodies are stored: retention, which blanks them, waits and then sees them.
    wanted = _events(row.event_id for row in rows)
    events = {event.id: event for event in session.scalars(wanted)} if rows else {}
    traceparents = _traceparents(session, events.values()) if tracing.enabled() else {}
    return [
        Claimed(
            row.id,
            row.attempt,
            row.tries,
            row.receiver,
            row.tenant_id,
            urls.get(row.endpoint_id or "", row.url),
            events[row.event_id],
            secrets[row.endpoint_id or row.tenant_id],
            is_own=row.endpoint_id is None,
            traceparent=traceparents.get(events[row.event_id].subject_id),
        )
        for row in rows
    ]


def _events(ids: Iterable[str]) -> Select[WebhookEvent]:
    """These events, locked in a fixed order."""
    of_these = select(WebhookEvent).where(WebhookEvent.id.in_(set(ids))).order_by(WebhookEvent.id)
    return of_these.with_for_update(key_share=True).execution_options(populate_existing=True)


def _traceparents(session: Session, events: Iterable[WebhookEvent]) -> dict[str | None, str]:
    """The spans of the traced jobs that these events report, by the jobs' ids."""
    ids = {event.subject_id for event in events}
    traced = select(Job.id, Job.traceparent).where(Job.id.in_(ids), Job.traceparent.is_not(None))
    return {row.id: row.traceparent for row in session.execute(traced)}


def _cancel(session: Session, ids: Sequence[str]) -> None:
    if ids:
        values = {"state": DeliveryState.CANCELED, "ended_at": now()}
        statement = update(WebhookDelivery).where(WebhookDelivery.id.in_(ids)).values(values)
        session.execute(statement, execution_options=NO_SYNC)


def store_bodies(session: Session, bodies: Mapping[str, str]) -> None:
    """Store the bodies of events, by their ids: every further delivery sends the same bytes."""
    if bodies:
        rows = [{"event": event_id, "made": body} for event_id, body in bodies.items()]
        statement = update(WebhookEvent).where(WebhookEvent.id == bindparam("event")).values(body=bindparam("made"))
        session.connection().execute(statement, rows)


def finish(session: Session, results: Sequence[Sent]) -> None:
    """Record the results of attempts. A result whose attempt is no longer the current one is only logged."""
    for result in results:
        current = (WebhookDelivery.id == result.delivery_id) & (WebhookDelivery.attempt == result.attempt)
        statement = update(WebhookDelivery).where(current, WebhookDelivery.state == DeliveryState.SENDING)
        session.execute(statement.values(_outcome(result)), execution_options=NO_SYNC)
    ids = [result.delivery_id for result in results]
    known = select(WebhookDelivery.id, WebhookDelivery.event_id).where(WebhookDelivery.id.in_(ids))
    event_of = {row.id: row.event_id for row in session.execute(known)}  # retention may have deleted one
    blanked = {event.id for event in session.scalars(_events(event_of.values())) if event.body is None}
    rows = [
        _attempt_row(result, keeps_answer=event_of[result.delivery_id] not in blanked)
        for result in results
        if result.delivery_id in event_of
    ]
    if rows:
        session.execute(insert(WebhookAttempt).values(created_at=now()), rows)


def _outcome(result: Sent) -> dict[str, Any]:
    if not result.state.open:
        return {"state": result.state, "url": result.url, "ended_at": now()}
    again, deadline = now() + result.repeat_seconds, WebhookDelivery.deadline_at
    is_over = deadline <= now()
    return {
        "state": case((is_over, DeliveryState.FAILED.value), else_=DeliveryState.PENDING.value),
        "url": result.url,
        "ended_at": case((is_over, now())),
        "next_at": case((again > deadline, deadline), else_=again),  # the last try is at the deadline
    }


def _attempt_row(result: Sent, *, keeps_answer: bool) -> dict[str, Any]:
    """The row of an attempt; without the answer, which may repeat the prompt, if that was deleted meanwhile."""
    return {
        "delivery_id": result.delivery_id,
        "number": result.attempt,
        "url": result.url,
        "address": result.address,
        "request_headers": dict(result.request_headers),
        "status": result.status,
        "answer": result.answer if keeps_answer else None,
        "error": result.error,
        "error_message": result.error_message,
        "seconds": result.seconds,
    }


def give_up(session: Session, limit: int, seconds: float) -> int:
    """→ failed for deliveries that are this far past their deadline, at most `limit`: their receiver's circuit breaker
    stayed open.
    """
    late = select(WebhookDelivery.id).where(text(OPEN_DELIVERIES), WebhookDelivery.deadline_at < now() - seconds)
    ids = session.scalars(late.order_by(WebhookDelivery.deadline_at).limit(limit).with_for_update(skip_locked=True))
    found = ids.all()
    if found:
        values = {"state": DeliveryState.FAILED, "ended_at": now()}
        statement = update(WebhookDelivery).where(WebhookDelivery.id.in_(found)).values(values)
        session.execute(statement, execution_options=NO_SYNC)
    return len(found)
