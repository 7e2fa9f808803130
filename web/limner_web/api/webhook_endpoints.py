"""Webhook endpoints of a tenant, in the form of OpenAI's API; served below `/v1` too."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any, Final

from apiflask import APIBlueprint
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from limner_shared.db import queries
from limner_shared.db.webhook_tables import WebhookAttempt, WebhookEndpoint
from limner_shared.db.webhooks import endpoints, log
from limner_shared.db.webhooks.endpoints import EndpointFields
from limner_shared.db.webhooks.outbox import NewEvent, Receiver, emit_to
from limner_shared.domain.webhook_views import (
    DeletedEndpoint,
    EndpointList,
    EndpointTest,
    EndpointView,
    EndpointWithSecret,
    EventTypeList,
)
from limner_shared.domain.webhooks import (
    KEPT_OVERLAP_SECONDS,
    MAX_OVERLAP_SECONDS,
    EventType,
    WebhookUrl,
    hint,
)
from limner_shared.errors import WebhookNotSent, WebhookUnreachable
from limner_web.auth import actor, tenant_id
from limner_web.http.throttling import release_request_slot
from limner_web.intake.headers import JobHeaders
from limner_web.intake.idempotency import ResourceKind, create_once, repeat_of
from limner_web.services import Services, get_services

bp = APIBlueprint("webhook_endpoints", __name__, url_prefix="/api/v1", tag="Webhooks")

TEST_SECONDS: Final = 25.0
"""How long a test waits for the dispatcher and the endpoint."""
TEST_POLL_SECONDS: Final = 0.1
TEST_DATA: Final = {"id": "test", "object": "test"}


class EndpointRequest(BaseModel):
    """A webhook endpoint."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(min_length=1, max_length=100, description="A name for people.")
    url: WebhookUrl = Field(description="Where events are sent: an https URL.")
    event_types: list[EventType] = Field(min_length=1, max_length=len(EventType), description="What is sent.")


class EndpointChange(BaseModel):
    """The fields to change; others stay as they are."""

    model_config = ConfigDict(extra="forbid")
    name: str | None = Field(default=None, min_length=1, max_length=100)
    url: WebhookUrl | None = None
    event_types: list[EventType] | None = Field(default=None, min_length=1, max_length=len(EventType))


class EndpointSecretRotation(BaseModel):
    """How long the old secret signs beside the new one."""

    model_config = ConfigDict(extra="forbid")
    overlap_seconds: int | None = Field(
        default=None,
        ge=0,
        le=MAX_OVERLAP_SECONDS,
        strict=True,
        description="Seconds for which each delivery is also signed by the old secret. Default: 0.",
    )
    keep_old_secret_active_for_24_hours: bool = Field(
        default=False, strict=True, description="The same as an `overlap_seconds` of 86400, as OpenAI's API calls it."
    )


class TestRequest(BaseModel):
    """The type of the test event."""

    model_config = ConfigDict(extra="forbid")
    event_type: EventType


class ListQuery(BaseModel):
    """The page of the list."""

    model_config = ConfigDict(extra="forbid")
    limit: int = Field(default=20, ge=1, le=100, description="The number of endpoints per page.")
    after: str | None = Field(default=None, description="The `last_id` of the previous page.")


@bp.get("/webhook_event_types")
@bp.output(EventTypeList)
def list_event_types() -> EventTypeList:
    """List event types.

    Returns the types that an endpoint can receive. Needs the scope `admin`, as all calls about endpoints do.
    """
    return EventTypeList(data=list(EventType))


@bp.post("/webhook_endpoints")
@bp.input(EndpointRequest, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(EndpointWithSecret, status_code=201)
def create_endpoint(body: EndpointRequest, header: JobHeaders) -> tuple[EndpointWithSecret, int, dict[str, str]]:
    """Create a webhook endpoint.

    All events of these types are sent to its URL, signed by the returned secret. A tenant may have 20.
    """
    services, by = get_services(), actor()
    fields = EndpointFields(body.name, services.targets.check_url(body.url, "url"), _types(body.event_types))

    def create(session: Session) -> str:
        return endpoints.create(session, tenant_id(), fields, actor=by)[0].id

    repeat = repeat_of(header, f"webhook_endpoints {body.model_dump_json()}")
    endpoint_id = create_once(services, tenant_id(), repeat, ResourceKind(create, str, endpoints.get))
    return _with_secret(services, endpoint_id), HTTPStatus.CREATED, {"Cache-Control": "no-store"}


@bp.get("/webhook_endpoints")
@bp.input(ListQuery, location="query", arg_name="query")
@bp.output(EndpointList)
def list_endpoints(query: ListQuery) -> EndpointList:
    """List webhook endpoints.

    Returns the tenant's endpoints, newest first.
    """
    with get_services().database.read() as session:
        rows = endpoints.page(session, tenant_id(), query.limit + 1, query.after)
        hints = endpoints.hints(session, [row.id for row in rows])
    views = [_view(row, hints.get(row.id)) for row in rows[: query.limit]]
    ids = [view.id for view in views]
    return EndpointList(
        data=views,
        first_id=ids[0] if ids else None,
        last_id=ids[-1] if ids else None,
        has_more=len(rows) > query.limit,
    )


@bp.get("/webhook_endpoints/<id:endpoint_id>")
@bp.output(EndpointView)
def get_endpoint(endpoint_id: str) -> EndpointView:
    """Retrieve a webhook endpoint."""
    with get_services().database.read() as session:
        row = endpoints.get(session, tenant_id(), endpoint_id)
        return _view(row, endpoints.hints(session, [row.id]).get(row.id))


@bp.post("/webhook_endpoints/<id:endpoint_id>")
@bp.input(EndpointChange, arg_name="body")
@bp.output(EndpointView)
def change_endpoint(endpoint_id: str, body: EndpointChange) -> EndpointView:
    """Change a webhook endpoint.

    What waits for the endpoint is sent to its new URL.
    """
    services = get_services()
    fields = body.model_dump(exclude_none=True)
    if body.url is not None:
        fields["url"] = services.targets.check_url(body.url, "url")
    if body.event_types is not None:
        fields["event_types"] = _types(body.event_types)
    with services.database.write() as session:
        row = endpoints.change(session, tenant_id(), endpoint_id, fields, actor=actor())
        return _view(row, endpoints.hints(session, [row.id]).get(row.id))


@bp.delete("/webhook_endpoints/<id:endpoint_id>")
@bp.output(DeletedEndpoint)
def delete_endpoint(endpoint_id: str) -> DeletedEndpoint:
    """Delete a webhook endpoint.

    What was not delivered to it yet is canceled.
    """
    with get_services().database.write() as session:
        endpoints.remove(session, tenant_id(), endpoint_id, actor=actor())
    return DeletedEndpoint(id=endpoint_id)


@bp.post("/webhook_endpoints/<id:endpoint_id>/rotate_secret")
@bp.input(EndpointSecretRotation, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(EndpointWithSecret)
def rotate_endpoint_secret(
    endpoint_id: str, body: EndpointSecretRotation, header: JobHeaders
) -> tuple[EndpointWithSecret, int, dict[str, str]]:
    """Rotate the secret of a webhook endpoint.

    During the overlap each delivery has two signatures, by the new secret and by the old one.
    """
    overlap = body.overlap_seconds
    if overlap is None:
        overlap = KEPT_OVERLAP_SECONDS if body.keep_old_secret_active_for_24_hours else 0
    services, by = get_services(), actor()

    def rotate(session: Session) -> str:
        endpoints.rotate(session, tenant_id(), endpoint_id, overlap, actor=by)
        return endpoint_id

    repeat = repeat_of(header, f"webhook_endpoints {endpoint_id} rotate_secret {overlap}")
    create_once(services, tenant_id(), repeat, ResourceKind(rotate, str, endpoints.get))
    return _with_secret(services, endpoint_id), HTTPStatus.OK, {"Cache-Control": "no-store"}


@bp.post("/webhook_endpoints/<id:endpoint_id>/test")
@bp.input(TestRequest, arg_name="body")
@bp.input(JobHeaders, location="headers", arg_name="header")
@bp.output(EndpointTest)
@bp.doc(responses={422: "The endpoint did not answer, no dispatcher has sent the event, or a value is not valid"})
def test_endpoint(endpoint_id: str, body: TestRequest, header: JobHeaders) -> EndpointTest:
    """Test a webhook endpoint.

    Sends it one event of this type, with `{"id": "test"}` as its data, and waits for its answer. It is not repeated.
    """
    services, tenant = get_services(), tenant_id()

    def send(session: Session) -> str:
        endpoint = endpoints.get(session, tenant, endpoint_id)
        if not queries.has_dispatcher(session):
            raise WebhookNotSent("No dispatcher is running that could send the event. Try again when one is.")
        event = NewEvent(tenant, body.event_type, data=TEST_DATA)
        # A receiver of its own, so that a test is sent although the endpoint's circuit breaker is open.
        receiver = Receiver(f"{endpoint_id}:test", endpoint.url, endpoint_id)
        return emit_to(session, event, receiver, seconds=0)

    repeat = repeat_of(header, f"webhook_endpoints {endpoint_id} test {body.event_type}")
    delivery_id = create_once(services, tenant, repeat, ResourceKind(send, str, log.get))
    services.hints.deliveries_wait()
    release_request_slot(services.limiter)
    attempt = _first_attempt(services, delivery_id)
    if attempt.status is None:
        raise WebhookUnreachable(attempt.error_message, error=attempt.error, delivery=delivery_id)
    return EndpointTest(webhook_endpoint_id=endpoint_id, event_type=body.event_type, status_code=attempt.status)


def _first_attempt(services: Services, delivery_id: str) -> WebhookAttempt:
    """Wait for the first attempt at a delivery. Raises WebhookNotSent if there is none in time."""
    deadline = time.monotonic() + TEST_SECONDS
    while time.monotonic() < deadline:
        with services.database.read() as session:
            found = log.attempts(session, delivery_id)
        if found:
            return found[0]
        time.sleep(TEST_POLL_SECONDS)
    raise WebhookNotSent("The dispatcher has not sent the event yet. Look at its delivery later.", delivery=delivery_id)


def _types(types: list[EventType]) -> list[str]:
    return [each.value for each in dict.fromkeys(types)]


def _view(row: WebhookEndpoint, secret_hint: str | None) -> EndpointView:
    return EndpointView(**_fields(row), signing_secret_hint=secret_hint)


def _with_secret(services: Services, endpoint_id: str) -> EndpointWithSecret:
    with services.database.write() as session:
        row, secret = endpoints.with_secret(session, tenant_id(), endpoint_id)
    return EndpointWithSecret(**_fields(row), signing_secret_hint=hint(secret), signing_secret=secret)


def _fields(row: WebhookEndpoint) -> dict[str, Any]:
    times = {"created_at": int(row.created_at), "updated_at": int(row.updated_at)}
    return {"id": row.id, "name": row.name, "url": row.url, "event_types": row.event_types} | times
