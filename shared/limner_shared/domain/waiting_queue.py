"""Queued jobs and their queues, as far as the dispatcher's policies need it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A queued job, as far as the policies need it."""

    id: str
    cost: int
    losses: int
    queue_key: str = ""


@dataclass(frozen=True, slots=True)
class WaitingQueue:
    """A tenant's jobs that are released one after another: a bulk, or its single jobs."""

    queue_key: str
    open: bool
    """Whether its jobs may be released; not so for a bulk that is loading, paused or canceled."""
    head: QueuedJob
    """The oldest job."""
