"""The API's responses for the operator: the queues of all tenants, and the workers. They hold no prompts."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, Field

from limner_shared.domain.views import PauseNotice, RateView


class LaneView(BaseModel):
    """A lane of a model."""

    lane: str = Field(description="first, high, normal, low or alone.")
    released: int = Field(description="Jobs that the workers can claim.")
    backlog: int = Field(description="Jobs that wait for their release. Counting stops at 100,000.")
    oldest_seconds: float = Field(description="How long the oldest of them has waited.")


class QueueView(BaseModel):
    """The queue of one model, over all tenants."""

    model: str
    title: str
    paused: PauseNotice | None
    pause: str | None = Field(description="The id of the pause.")
    running: int
    workers: int | None = Field(description="Workers that serve it and do not drain; null if Redis is unavailable.")
    rate: RateView | None = Field(description="Null if too few jobs of the model were finished within a day.")
    lanes: list[LaneView]


class QueueList(BaseModel):
    """The queues of all models."""

    items: list[QueueView]


class TenantQueueView(BaseModel):
    """The queue of one tenant, over all models."""

    tenant: str
    waiting: int = Field(description="Queued jobs, also scheduled ones. Counting stops at 10,000.")
    running: int


class TenantQueueList(BaseModel):
    """The queues of the tenants with jobs that run or could start, those with the most waiting jobs first."""

    items: list[TenantQueueView]
    more: bool = Field(description="Whether other tenants have such jobs too: at most 100 are listed.")


class MinuteView(BaseModel):
    """One minute of the service, all models and tenants together."""

    at: datetime = Field(description="When the minute began.")
    waiting: int | None = Field(description="Queued jobs, as last measured in it; null if no dispatcher measured them.")
    succeeded: int
    failed: int
    median_seconds: float | None = Field(description="From acceptance to success; null if no job succeeded.")
    p90_seconds: float | None = Field(description="Nine of ten jobs took at most this long.")


class HistoryView(BaseModel):
    """The last hour, minute by minute; the last minute is not over."""

    items: list[MinuteView]


class MemoryView(BaseModel):
    """The memory of a worker's device."""

    used: int = Field(description="Bytes that the worker has allocated.")
    total: int


class HeldJobView(BaseModel):
    """A job that a worker runs."""

    id: str
    model: str
    attempt: int
    started_at: datetime | None


class WorkerView(BaseModel):
    """A running worker, by its own report."""

    id: str
    device: str
    models: list[str]
    memory: MemoryView | None = Field(description="Null if it is not known.")
    held: int = Field(description="Jobs between claim and commit.")
    closed: list[str] = Field(description="Models, `store` or `moderation`: what it has paused after failures.")
    draining: bool = Field(description="Whether it takes no new jobs, by an order or because it ends.")
    stalled: list[str] = Field(description="Its threads that make no progress.")
    rate: RateView | None = Field(
        default=None, description="Of the last hour, without the time in which it drew nothing; null for too few jobs."
    )
    jobs: list[HeldJobView] = Field(description="The jobs that it runs, the oldest first; at most 100.")


class WorkerList(BaseModel):
    """The running workers."""

    items: list[WorkerView]
