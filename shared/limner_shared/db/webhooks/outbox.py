"""The outbox of webhooks: an event and its deliveries, in the transaction of the change that they report. So an event
exists if and only if the change does, also if a process is killed.

Jobs and bulks emit through the ledger. Anything else calls `emit` with its own `data`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from limner_shared.db.many_rows import among_those, insert_many
from limner_shared.db.webhook_tables import WebhookDelivery, WebhookEndpoint, WebhookEvent
from limner_shared.db.webhooks.response_events import in_background
from limner_shared.domain.ids import new_id
from limner_shared.domain.responses import response_id
from limner_shared.domain.webhook_targets import receiver_of
from limner_shared.domain.webhooks import (
    GIVE_UP_SECONDS,
    RESPONSE_ENDED,
    BodyFormat,
    DeliveryState,
    EventType,
    Webhook,
)


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to tell its receivers of: the tenant's endpoints for its type, and the `webhook` of its subject."""

    tenant_id: str
    type: EventType
    subject_id: str | None = None
    """The job, bulk or other resource that it is about; deleting that deletes the event."""
    webhook: Mapping[str, Any] | None = None
    """A stored `webhooks.Webhook`."""
    data: Mapping[str, Any] | None = None
    """What the receivers get as `data`; None for the view of a job or bulk at the time of sending."""


@dataclass(frozen=True, slots=True)
class Receiver:
    """Where one event goes."""

    key: str
    url: str
    endpoint_id: str | None = None


_ENDPOINTS: Final = select(
    WebhookEndpoint.id, WebhookEndpoint.tenant_id, WebhookEndpoint.url, WebhookEndpoint.event_types
).where(among_those(WebhookEndpoint.tenant_id, "tenants"))


def emit(session: Session, events: Sequence[NewEvent]) -> bool:
    """Write the events that have receivers, with their deliveries; returns whether there are any.

    After the commit, `Hints.deliveries_wait` makes the dispatcher send them at once.
    """
    if not events:
        return False
    tenants = sorted({event.tenant_id for event in events})
    endpoints = session.execute(_ENDPOINTS, {"tenants": tenants}).all()
    rows: list[dict[str, Any]] = []
    deliveries: list[dict[str, Any]] = []
    for event in [*events, *_of_responses(session, events, endpoints)]:
        for receivers in _receivers(event, endpoints):
            rows.append(_row(event))
            deliveries += (delivery_row(rows[-1]["id"], event.tenant_id, receiver) for receiver in receivers)
    if rows:
        _insert(session, rows, deliveries, GIVE_UP_SECONDS)
    return bool(rows)


def _of_responses(
    session: Session, events: Sequence[NewEvent], endpoints: Sequence[Row[str, str, str, list[str]]]
) -> list[NewEvent]:
    """The events of responses whose jobs have ended, for tenants with an endpoint that wants any of them."""
    kinds = RESPONSE_ENDED.values()
    tenants = {each.tenant_id for each in endpoints if any(_wants(each.event_types, kind) for kind in kinds)}
    ended = {
        event.subject_id: event
        for event in events
        if event.subject_id is not None and event.type in RESPONSE_ENDED and event.tenant_id in tenants
    }
    told = in_background(session, ended) if ended else set[str]()
    return [
        NewEvent(event.tenant_id, RESPONSE_ENDED[event.type], job_id, data={"id": response_id(job_id)})
        for job_id, event in ended.items()
        if job_id in told
    ]


def emit_to(session: Session, event: NewEvent, receiver: Receiver, seconds: float) -> str:
    """Write an event for this receiver alone, which is tried for `seconds`; returns the id of the delivery."""
    row = _row(event)
    delivery = delivery_row(row["id"], event.tenant_id, receiver)
    _insert(session, [row], [delivery], seconds)
    return delivery["id"]


def _insert(
    session: Session, rows: Sequence[Mapping[str, Any]], deliveries: Sequence[Mapping[str, Any]], seconds: float
) -> None:
    """Write events and their deliveries, which are tried for `seconds`."""
    insert_many(session, WebhookEvent, rows, times={"created_at": 0})
    insert_many(session, WebhookDelivery, deliveries, times={"created_at": 0, "next_at": 0, "deadline_at": seconds})


def delivery_row(event_id: str, tenant_id: str, receiver: Receiver) -> dict[str, Any]:
    """The columns of a new delivery, except its times."""
    return {
        "id": new_id("whd"),
        "event_id": event_id,
        "tenant_id": tenant_id,
        "endpoint_id": receiver.endpoint_id,
        "url": receiver.url,
        "receiver": receiver.key,
        "state": DeliveryState.PENDING,
    }


def _receivers(event: NewEvent, endpoints: Sequence[Row[str, str, str, list[str]]]) -> Iterator[list[Receiver]]:
    """The receivers of the change, grouped by the format of their body: an event has one body."""
    told = [
        Receiver(endpoint.id, endpoint.url, endpoint.id)
        for endpoint in endpoints
        if endpoint.tenant_id == event.tenant_id and _wants(endpoint.event_types, event.type)
    ]
    own = read_webhook(event.webhook)
    if own is not None and own.wants(event.type):
        itself = Receiver(receiver_of(event.tenant_id, own.url), own.url)
        if own.format is BodyFormat.EVENT:
            told.append(itself)
        else:
            yield [itself]
    if told:
        yield told


def _wants(event_types: object, event_type: EventType) -> bool:
    """Whether an endpoint wants this type. A damaged list wants none: jobs must be able to end."""
    return isinstance(event_types, list) and event_type in event_types


def read_webhook(stored: Mapping[str, Any] | None) -> Webhook | None:
    """A stored webhook; None for a damaged one, which must not stop its job from ending."""
    try:
        return None if stored is None else Webhook.model_validate(stored)
    except ValidationError:
        return None


def _row(event: NewEvent) -> dict[str, Any]:
    return {
        "id": new_id("evt"),
        "tenant_id": event.tenant_id,
        "type": event.type,
        "subject_id": event.subject_id,
        "data": None if event.data is None else dict(event.data),
    }
