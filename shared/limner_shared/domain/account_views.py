"""The API's responses about a tenant's account: keys, the audit log, usage."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import BaseModel, Field

from limner_shared.domain.access import Scope
from limner_shared.domain.cancellations import CancellationState
from limner_shared.domain.jobs import Priority
from limner_shared.domain.views import PauseNotice


class KeyView(BaseModel):
    """An API key, without its secret."""

    id: str
    label: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Written at most once a minute.")
    revoked_at: datetime | None
    replaced_by: str | None = Field(description="The id of the key that a rotation made.")
    current: bool = Field(default=False, description="Whether it is the key of this request.")


class KeyList(BaseModel):
    """A page of keys; `next` is the cursor of the next page, if there is one."""

    items: list[KeyView]
    next: str | None


class CreatedKey(BaseModel):
    """A key that was just made."""

    id: str
    key: str = Field(description="The new key. It cannot be shown again.")
    label: str
    scopes: list[Scope]
    expires_at: datetime | None


class RotatedKey(BaseModel):
    """The key that replaces the one of the request."""

    id: str
    key: str = Field(description="The new key. It cannot be shown again.")
    scopes: list[Scope]
    expires_at: datetime | None
    replaces: str = Field(description="The id of the old key.")
    old_expires_at: datetime = Field(description="When the old key stops working.")


class AuditEntryView(BaseModel):
    """A change of a key, of the tenant or of a pause."""

    id: str
    actor: str = Field(
        description="The id of the key that made the change; or `operator`, `system` (a key expired or a pause "
        "ended by itself) or `anonymous` (no key, where none is required)."
    )
    action: str = Field(
        description="`key_created`, `key_rotated`, `key_revoked`, `key_expired`, `tenant_changed`, `webhook_created`, "
        "`webhook_changed`, `webhook_rotated`, `webhook_deleted`, `queue_paused` or `queue_resumed`."
    )
    subject: str = Field(description="The id of the key, tenant, webhook endpoint or pause that was changed.")
    detail: dict[str, Any]
    created_at: datetime


class AuditLog(BaseModel):
    """A page of the audit log; `next` is the cursor of the next page, if there is one."""

    items: list[AuditEntryView]
    next: str | None


class PauseView(BaseModel):
    """A model or a tenant whose queued jobs wait, or a worker that takes no new ones."""

    id: str
    model: str | None = Field(description="The name of the model, if a model is paused.")
    tenant: str | None = Field(description="The name of the tenant, if a tenant is paused.")
    worker: str | None = Field(description="The id of the worker, if a worker is paused.")
    own: bool = Field(default=False, description="Whether the tenant paused itself.")
    reason: str | None
    until: datetime | None = Field(description="When the pause ends by itself; null: when it is ended.")
    paused_at: datetime
    actor: str = Field(description="Who paused it, as in the audit log.")


class CanceledView(BaseModel):
    """How many of the jobs that waited were canceled."""

    canceled: int
    more: bool = Field(
        description="Whether others still wait: one request cancels at most 1000. Repeat it for them, unless they are "
        "canceled in the background."
    )
    cancellation: str | None = Field(
        default=None, description="The id of the cancellation in the background, if you asked for one and jobs waited."
    )


class CancellationView(BaseModel):
    """A cancellation in the background."""

    id: str
    model: str | None = Field(description="Only jobs of this model; null: of all.")
    priority: Priority | None = Field(description="Only jobs of this priority class; null: of all.")
    canceled: int = Field(description="The jobs that it has canceled so far.")
    status: CancellationState
    ordered_at: datetime


class CancellationList(BaseModel):
    """The cancellations in the background that run, the oldest first."""

    items: list[CancellationView]


class OwnPauseView(BaseModel):
    """Whether your queue is paused, and by whom."""

    own: PauseNotice | None = Field(description="Your own pause, if you have paused your queue.")
    operator: PauseNotice | None = Field(description="The operator's pause of your queue, which you cannot end.")


class PauseList(BaseModel):
    """All pauses."""

    items: list[PauseView]


class DayUsage(BaseModel):
    """The cost units granted on one day."""

    day: date
    cost: int = Field(
        description="Cost units: steps × tokens × images × candidates, less those of jobs that never ran."
    )


class DayJobs(BaseModel):
    """The jobs accepted on one day."""

    day: date
    jobs: int = Field(description="Counting stops at 10,000. Deleted jobs are not counted.")


class LimitsView(BaseModel):
    """The limits of a tenant; null where none applies."""

    requests_per_minute: int | None
    max_queued: int | None = Field(description="Queued jobs.")
    max_running: int | None = Field(description="Jobs released or running.")
    cost_per_day: int | None = Field(description="Cost units per day, UTC.")


class UsageView(BaseModel):
    """What a tenant has used and has queued, and its limits."""

    days: list[DayUsage] = Field(
        description="The last 31 days, newest first; only days on which the tenant had a daily limit."
    )
    accepted: list[DayJobs] = Field(description="The last 14 days, newest first, UTC.")
    queued: int = Field(description="Queued jobs. Counting stops at 100,000, or at `max_queued` if that is larger.")
    running: int = Field(description="Running jobs.")
    recent_images: int = Field(
        default=0, description="Images drawn in the last ten minutes. Counting stops at those of 10,000 jobs."
    )
    limits: LimitsView


class PrivacyView(BaseModel):
    """What is kept of a tenant's data, and for how long. Null: until it is deleted."""

    keep_images_days: float | None = Field(description="Days after which images are deleted.")
    keep_prompts_days: float | None = Field(description="Days after which prompts and messages are blanked.")
    keep_jobs_days: float | None = Field(description="Days after which jobs are deleted, with their images.")
    share_results: bool = Field(description="Whether equal requests of the tenant are drawn only once.")
    changeable: bool = Field(description="Whether the key of this request may change them: it is the operator's.")
