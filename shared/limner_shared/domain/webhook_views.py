"""The API's responses about webhooks. Those about endpoints have the form of OpenAI's API, so that its client reads
them; their times are seconds since 1970.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

from limner_shared.domain.webhooks import DeliveryState, EventType


class EndpointView(BaseModel):
    """A webhook endpoint."""

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    name: str
    url: str
    event_types: list[str]
    signing_secret_hint: str | None = Field(description="The last characters of the secret.")
    created_at: int
    updated_at: int = Field(description="When its fields or its secret last changed.")


class EndpointWithSecret(EndpointView):
    """A webhook endpoint with its secret."""

    signing_secret: str = Field(description="The new secret. It cannot be shown again.")


class EndpointList(BaseModel):
    """A page of webhook endpoints."""

    object: Literal["list"] = "list"
    data: list[EndpointView]
    first_id: str | None
    last_id: str | None
    has_more: bool


class DeletedEndpoint(BaseModel):
    """A deleted webhook endpoint."""

    id: str
    object: Literal["webhook_endpoint.deleted"] = "webhook_endpoint.deleted"
    deleted: Literal[True] = True


class EndpointTest(BaseModel):
    """What an endpoint answered to a test event."""

    object: Literal["webhook_endpoint.test"] = "webhook_endpoint.test"
    webhook_endpoint_id: str
    event_type: str
    status_code: int
    success: Literal[True] = Field(default=True, description="The endpoint has answered; `status_code` says what.")


class EventTypeList(BaseModel):
    """The types of events."""

    object: Literal["list"] = "list"
    data: list[EventType]


class SecretView(BaseModel):
    """The secret that signs the webhooks of jobs and bulks."""

    secret: str


class AttemptView(BaseModel):
    """One try at a delivery."""

    number: int = Field(description="A missing number is a try whose dispatcher died before it knew the answer.")
    at: datetime
    seconds: float = Field(description="From the resolution of the name to the end of the answer.")
    url: str
    address: str | None = Field(description="The address that it was connected to.")
    request_headers: dict[str, str]
    status: int | None = Field(description="The HTTP status of the answer.")
    answer: str | None = Field(description="The answer's body, at most 4 KiB. Deleted together with the job's prompt.")
    error: str | None = Field(
        description="`status`, `timed_out`, `connection_failed`, `connection_lost`, `answer_invalid`, "
        "`name_unresolved`, `address_refused` or `not_sent`."
    )
    error_message: str | None


class DeliveryView(BaseModel):
    """The delivery of one event to one receiver."""

    id: str
    event: str = Field(description="The event's id: the `webhook-id` of the delivery and of each repeat.")
    type: EventType
    subject: str | None = Field(description="The job or bulk that the event is about.")
    endpoint: str | None = Field(description="Null for the webhook of a job or bulk.")
    url: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    next_at: datetime | None = Field(description="When it is due, while it is pending.")
    ended_at: datetime | None


class DeliveryDetail(DeliveryView):
    """A delivery with what was sent and every try."""

    body: str | None = Field(
        description="What is sent, byte for byte. Null before it is sent, and once it was deleted."
    )
    tries: list[AttemptView] = Field(description="The oldest first.")


class DeliveryList(BaseModel):
    """A page of deliveries; `next` is the cursor of the next page, if there is one."""

    items: list[DeliveryView]
    next: str | None


class Redelivered(BaseModel):
    """How many deliveries were queued again; `next` is the cursor of those that were left, if there are any."""

    count: int
    next: str | None
