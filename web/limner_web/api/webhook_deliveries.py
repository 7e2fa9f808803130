"""The log of webhook deliveries, and repeats by hand."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from limner_shared.db.views import as_datetime
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookDelivery, WebhookEvent
from limner_shared.db.webhooks import log
from limner_shared.db.webhooks.log import DeliveryFilter
from limner_shared.domain.ids import first_id
from limner_shared.domain.scheduling import Moment
from limner_shared.domain.webhook_views import AttemptView, DeliveryDetail, DeliveryList, DeliveryView, Redelivered
from limner_shared.domain.webhooks import DeliveryState
from limner_web.auth import tenant_id
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import ResourceKind, answer_once, create_once, repeat_of
from limner_web.services import get_services

bp = APIBlueprint("webhook_deliveries", __name__, url_prefix="/api/v1/webhook_deliveries", tag="Webhooks")

MAX_REDELIVERED: Final = 1000
"""Deliveries that one request repeats."""


class ListQuery(BaseModel):
    """The filters and the page of the list."""

    model_config = ConfigDict(extra="forbid")
    state: DeliveryState | None = Field(default=None, description="Only deliveries in this state.")
    endpoint: str | None = Field(default=None, description="Only deliveries to this endpoint, by its id.")
    since: Moment | None = Field(default=None, description="Only deliveries created at this time or later.")
    until: Moment | None = Field(default=None, description="Only deliveries created before this time.")
    limit: int = Field(default=50, ge=1, le=100, description="The number of deliveries per page.")
    cursor: str | None = Field(default=None, description="The value of `next` from the previous page.")


class RedeliverRequest(BaseModel):
    """Which deliveries are sent again."""

    model_config = ConfigDict(extra="forbid")
    since: Moment = Field(description="Deliveries created at this time or later.")
    until: Moment | None = Field(default=None, description="Deliveries created before this time. Default: now.")
    state: DeliveryState = Field(default=DeliveryState.FAILED, description="Deliveries in this state.")
    endpoint: str | None = Field(default=None, description="Only deliveries to this endpoint, by its id.")
    cursor: str | None = Field(default=None, description="The value of `next` from the previous answer.")


@bp.get("")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(DeliveryList)
def list_deliveries(query: ListQuery) -> DeliveryList:
    """List webhook deliveries.

    Returns deliveries, newest first. Ended ones are kept for `LIMNER_WEBHOOK_LOG_DAYS`.
    """
    end = _bound(query.until)
    if query.cursor is not None:
        end = query.cursor if end is None else min(end, query.cursor)
    which = DeliveryFilter(query.state, query.endpoint, _bound(query.since), end)
    with get_services().database.read() as session:
        rows = log.page(session, tenant_id(), which, query.limit + 1)
    items = [DeliveryView(**_fields(delivery, event)) for delivery, event in rows[: query.limit]]
    return DeliveryList(items=items, next=items[-1].id if len(rows) > query.limit else None)


@bp.get("/<id:delivery_id>")
@bp.output(DeliveryDetail)
def get_delivery(delivery_id: str) -> DeliveryDetail:
    """Retrieve a webhook delivery.

    Returns the delivery with what was sent, and what came back each time.
    """
    return _detail(delivery_id)


@bp.post("/<id:delivery_id>/redeliver")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(DeliveryDetail, status_code=202)
@bp.doc(responses={409: "The delivery is being sent, or the idempotency key was used for another request"})
def redeliver(delivery_id: str, header: JobHeaders) -> DeliveryDetail:
    """Repeat a webhook delivery.

    Sends a delivery again, with the same body and `webhook-id`: at once, and after failures for another three days.
    """
    services, tenant = get_services(), tenant_id()

    def send_again(session: Session) -> str:
        log.redeliver(session, tenant, delivery_id)
        return delivery_id

    repeat = repeat_of(header, f"webhook_deliveries {delivery_id} redeliver")
    create_once(services, tenant, repeat, ResourceKind(send_again, str, log.get))
    services.hints.deliveries_wait()
    return _detail(delivery_id)


@bp.post("/redeliver")
@bp.input(RedeliverRequest, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(Redelivered, status_code=202)
def redeliver_range(body: RedeliverRequest, header: JobHeaders) -> Redelivered:
    """Repeat webhook deliveries.

    Sends the deliveries of a time range again, by default those that failed. One request repeats at most 1000, the
    oldest first; send `next` as `cursor` to repeat the others.
    """
    services = get_services()
    first = _bound(body.since)
    if body.cursor is not None:
        first = f"{body.cursor}0"  # the next possible id
    which = DeliveryFilter(body.state, body.endpoint, first, _bound(body.until))

    def send_again(session: Session) -> dict[str, int | str | None]:
        count, last = log.redeliver_range(session, tenant_id(), which, MAX_REDELIVERED)
        return {"count": count, "next": last}

    repeat = repeat_of(header, f"webhook_deliveries redeliver {body.model_dump_json()}")
    answer = answer_once(services, tenant_id(), repeat, send_again)
    services.hints.deliveries_wait()
    return Redelivered.model_validate(answer)


def _bound(time: datetime | None) -> str | None:
    return None if time is None else first_id(log.PREFIX, time.timestamp())


def _detail(delivery_id: str) -> DeliveryDetail:
    with get_services().database.read() as session:
        delivery, event = log.get(session, tenant_id(), delivery_id)
        tries = log.attempts(session, delivery_id)
    return DeliveryDetail(**_fields(delivery, event), body=event.body, tries=[_attempt(row) for row in tries])


def _fields(row: WebhookDelivery, event: WebhookEvent) -> dict[str, Any]:
    return {
        "id": row.id,
        "event": event.id,
        "type": event.type,
        "subject": event.subject_id,
        "endpoint": row.endpoint_id,
        "url": row.url,
        "state": row.state,
        "attempts": row.attempt,
        "created_at": as_datetime(row.created_at),
        "next_at": as_datetime(row.next_at) if row.state == DeliveryState.PENDING else None,
        "ended_at": as_datetime(row.ended_at),
    }


def _attempt(row: WebhookAttempt) -> AttemptView:
    return AttemptView(
        number=row.number,
        at=as_datetime(row.created_at),
        seconds=row.seconds,
        url=row.url,
        address=row.address,
        request_headers=row.request_headers,
        status=row.status,
        answer=row.answer,
        error=row.error,
        error_message=row.error_message,
    )
