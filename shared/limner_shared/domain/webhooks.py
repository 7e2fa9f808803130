"""Webhooks: the types of events, the filters of a receiver, secrets, and when a failed delivery is sent again. No I/O.

Signatures follow Standard Webhooks (https://www.standardwebhooks.com); the clients of OpenAI and Replicate verify them.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from limner_shared.domain.durations import DAY_SECONDS, HOUR_SECONDS

MAX_URL_CHARS: Final = 2048
MAX_ENDPOINTS: Final = 20
"""The endpoints of one tenant: each event may be delivered to all of them."""

SECRET_PREFIX: Final = "whsec_"  # noqa: S105 - of Standard Webhooks
SECRET_BYTES: Final = 32
HINT_CHARS: Final = 4
MAX_OVERLAP_SECONDS: Final = 7 * DAY_SECONDS
KEPT_OVERLAP_SECONDS: Final = DAY_SECONDS
"""The overlap that OpenAI's client asks for."""

GIVE_UP_SECONDS: Final = 3 * DAY_SECONDS
"""How long a delivery is tried: a receiver that breaks on a Friday evening may be repaired on Monday."""
BACKOFF_BASE_SECONDS: Final = 5.0
"""The longest delay before the first repeat: a receiver that restarts is back within seconds."""
BACKOFF_FACTOR: Final = 3.0
BACKOFF_CAP_SECONDS: Final = 4 * HOUR_SECONDS
"""The longest delay before any repeat: about 40 tries in three days."""


class EventType(StrEnum):
    """What has happened."""

    JOB_STARTED = "job.started"
    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    BULK_COMPLETED = "bulk.completed"
    BULK_CANCELED = "bulk.canceled"
    BATCH_COMPLETED = "batch.completed"
    BATCH_FAILED = "batch.failed"
    BATCH_EXPIRED = "batch.expired"
    BATCH_CANCELLED = "batch.cancelled"  # as OpenAI spells it
    RESPONSE_COMPLETED = "response.completed"
    RESPONSE_FAILED = "response.failed"
    RESPONSE_CANCELLED = "response.cancelled"
    RESPONSE_INCOMPLETE = "response.incomplete"
    """Never sent: a response here has all of its pictures or none. Programs for OpenAI name it with the others."""


JobEventType = Literal["job.started", "job.succeeded", "job.failed", "job.canceled"]
JOB_ENDED: Final = (EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELED)
RESPONSE_ENDED: Final[Mapping[EventType, EventType]] = {
    EventType.JOB_SUCCEEDED: EventType.RESPONSE_COMPLETED,
    EventType.JOB_FAILED: EventType.RESPONSE_FAILED,
    EventType.JOB_CANCELED: EventType.RESPONSE_CANCELLED,
}
"""The event of a response in the background, by that of its job."""
BULK_ENDED: Final = (EventType.BULK_COMPLETED, EventType.BULK_CANCELED)


class DeliveryState(StrEnum):
    """The state of one event's delivery to one receiver."""

    PENDING = "pending"
    """It is sent when due and when the receiver's limits allow."""
    SENDING = "sending"
    """A dispatcher sends it until its lease ends."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """Given up: three days have passed, or the receiver answered 410 Gone."""
    CANCELED = "canceled"
    """Its endpoint was deleted."""

    @property
    def open(self) -> bool:
        """Whether it is still to be sent."""
        return self in (DeliveryState.PENDING, DeliveryState.SENDING)


@dataclass(frozen=True, slots=True)
class DueReceiver:
    """A receiver with due deliveries, and its tenant."""

    receiver: str
    tenant_id: str
    late_seconds: float = 0.0
    """By how much its earliest delivery is late."""


WebhookUrl = Annotated[str, Field(min_length=1, max_length=MAX_URL_CHARS)]


class BodyFormat(StrEnum):
    """What a webhook's bodies are."""

    EVENT = "event"
    """An envelope with the job or bulk as the native API shows it."""
    PREDICTION = "prediction"
    """A prediction of Replicate's API."""


PredictionEvent = Literal["start", "output", "logs", "completed"]
PREDICTION_EVENTS: Final[Mapping[str, Sequence[EventType]]] = {
    "start": (EventType.JOB_STARTED,),
    "output": (EventType.JOB_SUCCEEDED,),
    "logs": (EventType.JOB_STARTED, *JOB_ENDED),
    "completed": JOB_ENDED,
}
"""The changes of a job that each event of Replicate's API reports: all pictures of a job come at its end."""
PREDICTION_DEFAULT: Final = ("output", "completed")


class Webhook(BaseModel):
    """The webhook of one job or bulk, as stored with it. `events` are EventTypes, or PredictionEvents in the format of
    predictions, of which releases without this format send none.
    """

    model_config = ConfigDict(frozen=True)

    url: str
    events: tuple[str, ...]
    format: BodyFormat = BodyFormat.EVENT
    origin: str = ""
    """What the URLs in predictions begin with."""

    def wants(self, change: EventType) -> bool:
        """Whether it receives this change."""
        if self.format is BodyFormat.EVENT:
            return change in self.events
        return any(change in PREDICTION_EVENTS.get(event, ()) for event in self.events)


def new_secret() -> str:
    """A signing secret: `whsec_` and 32 random bytes in base64."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def hint(secret: str) -> str:
    """A secret's last characters, which tell two secrets apart."""
    return f"{SECRET_PREFIX}…{secret[-HINT_CHARS:]}"


def repeat_seconds(tries: int, fraction: float) -> float:
    """The delay before a delivery that failed `tries` times is sent again: exponential backoff with full jitter.

    `fraction` is uniform in [0, 1) (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
    """
    exponent = min(max(tries, 1) - 1, 64)  # beyond this the cap applies, and the power could overflow
    return fraction * min(BACKOFF_CAP_SECONDS, BACKOFF_BASE_SECONDS * BACKOFF_FACTOR**exponent)
