"""The ledger's inputs and results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from limner_shared.domain.embeddings import Embedding
from limner_shared.domain.ids import new_id
from limner_shared.domain.jobs import JobSpec, JobState, Lane, Priority
from limner_shared.domain.safety import NO_POLICY, TenantPolicy
from limner_shared.domain.unique import Unique
from limner_shared.errors import LimnerError


class EventKind(StrEnum):
    """What happened to a job, as its event says."""

    CLAIMED = "claimed"
    INTERPRETED = "interpreted"
    REQUEUED = "requeued"
    """Returned to the queue without a failure: handed back, or its lease was lost."""
    RETRIED = "retried"
    """Returned to the queue after a retryable error."""
    DUE = "due"
    """The time has come that it waited for."""
    IMAGE_DELETED = "image_deleted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class UniqueHold:
    """A unique key, and the id of the new job that is to hold it."""

    unique: Unique
    job_id: str = field(default_factory=lambda: new_id("job"))


@dataclass(frozen=True, slots=True)
class NewJob:
    """A job to queue. A `small` one may pass the others while its tenant has no active jobs."""

    spec: JobSpec
    cost: int
    priority: Priority
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    bulk_line: int | None = None
    expires_in: float | None = None
    small: bool = False
    retry_of: str | None = None
    not_before: float | None = None
    """The time before which it must not start, in seconds since 1970; a past one has no effect."""
    max_retries: int = 0
    webhook: Mapping[str, Any] | None = None
    """A `webhooks.Webhook` as JSON."""
    unique: UniqueHold | None = None
    traceparent: str | None = None
    """The span under which it is traced."""


@dataclass(frozen=True, slots=True)
class Change:
    """A job whose state has changed: what the hints announce to pollers and streams after the commit."""

    id: str
    tenant_id: str
    bulk_id: str | None
    model: str
    state: JobState
    version: int
    """The job's version after the change; each change of its view increases it by one."""
    notifies: bool = False
    """Whether webhook deliveries were written with it, which the dispatcher should send at once."""
    deleted: bool = False
    """Whether the job was deleted; then it was in this state before."""


class AttemptKey(NamedTuple):
    """The identity of an attempt; it fences every write of a worker to a job."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that the caller owns until its lease ends; `attempt` fences its writes."""

    id: str
    tenant_id: str
    bulk_id: str | None
    attempt: int
    version: int
    lane: Lane
    spec: JobSpec
    notifies: bool = False
    interpreted: bool = True
    """Whether the spec holds all conditions; False for a description that has not been interpreted yet."""
    shares: bool = False
    """Whether its tenant lets equal requests share a result."""
    tenant: TenantPolicy = NO_POLICY
    """The tenant's own policy for safety, terms and signing."""
    traceparent: str | None = None
    """The span under which it is traced."""

    @property
    def key(self) -> AttemptKey:
        """The key of the attempt."""
        return AttemptKey(self.id, self.attempt)

    @property
    def change(self) -> Change:
        """The state change of the claim."""
        return Change(
            self.id, self.tenant_id, self.bulk_id, self.spec.model, JobState.RUNNING, self.version, self.notifies
        )


@dataclass(frozen=True, slots=True)
class NewImage:
    """A picture whose bytes are already stored."""

    sha256: str
    media_type: str
    width: int
    height: int
    size_bytes: int
    seed: int
    receipt: Mapping[str, Any]
    alt_text: str | None = None
    deduplication_key: str | None = None
    embedding: Embedding | None = None
    """The vector for similarity search; None if its model has no encoder."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of an attempt: images and a sentence that presents them, or an error."""

    job_id: str
    attempt: int
    images: Sequence[NewImage] = ()
    error: LimnerError | None = None
    presentation: str | None = None

    @property
    def key(self) -> AttemptKey:
        """The key of its attempt."""
        return AttemptKey(self.job_id, self.attempt)


class Released(NamedTuple):
    """A job to publish. `at` is its release time, by the database's clock."""

    id: str
    lane: Lane
    at: float
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """The result of `submit`. Publish `released` after the commit; the dispatcher releases the others.

    `existing` is the job that holds the unique key of the one that was to be submitted; then nothing was.
    """

    changes: list[Change]
    released: list[Released]
    existing: str | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    """The columns of the jobs, for `as_stored`."""
    ahead: int | None = None
    """How many jobs are ahead of the released ones."""

    @property
    def job_id(self) -> str:
        """The id of a single job, or of the one that exists in its place."""
        return self.existing or self.changes[0].id
