"""The queues in which each tenant's jobs wait: its bulks, and its single jobs. They take turns. Pure policy, without
I/O.

A round reads as many queues as it releases jobs, and the next round continues where it ended. So its cost does not
depend on the number of queues, and each queue has its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final, Protocol

from limner_shared.domain.waiting_queue import QueuedJob, WaitingQueue

QUEUES_AT_ONCE: Final = 64
QUEUES_A_ROUND: Final = 1024
"""The limit of queues without releasable jobs (paused ones, for example) that one round skips for a tenant."""
JOBS_AT_ONCE: Final = 256


class Reader(Protocol):
    """Reads the waiting jobs of one model and priority class."""

    def queues(self, tenant: str, after: str, limit: int) -> list[WaitingQueue]:
        """A tenant's next queues after the key `after`, in key order."""
        ...

    def jobs(self, tenant: str, queue_key: str, after: str, limit: int) -> list[QueuedJob]:
        """The next jobs of a queue after an id."""
        ...


class WaitingQueues:
    """The position in each tenant's queues, for one model and priority class."""

    def __init__(self) -> None:
        self._behind: dict[str, str] = {}

    def keep(self, tenants: Iterable[str]) -> None:
        """Delete the positions of all other tenants: they have no waiting jobs."""
        known = set(tenants)
        self._behind = {tenant: queue_key for tenant, queue_key in self._behind.items() if tenant in known}

    def jobs(self, reader: Reader, tenant: str) -> Iterator[QueuedJob]:
        """A tenant's jobs, one from each queue in turn, read only as far as they are consumed."""
        return take_turns(self._open_queues(reader, tenant))

    def took(self, tenant: str, job: QueuedJob) -> None:
        """Record a tenant's last job in a round: its next turn begins after the job's queue."""
        self._behind[tenant] = job.queue_key

    def _open_queues(self, reader: Reader, tenant: str) -> Iterator[Iterator[QueuedJob]]:
        passed_over = 0
        for queue in self._queues(reader, tenant):
            if queue.open:
                yield self._queue(reader, tenant, queue)
                continue
            passed_over += 1
            if passed_over == QUEUES_A_ROUND:
                self._behind[tenant] = queue.queue_key
                return

    def _queues(self, reader: Reader, tenant: str) -> Iterator[WaitingQueue]:
        """All queues in cyclic order, from the tenant's position."""
        start = self._behind.get(tenant, "")
        after, wrapped = start, not start
        while True:
            page = reader.queues(tenant, after, QUEUES_AT_ONCE)
            for queue in page:
                if wrapped and start and queue.queue_key > start:
                    return
                yield queue
            if len(page) == QUEUES_AT_ONCE:
                after = page[-1].queue_key
            elif wrapped:
                return
            else:
                after, wrapped = "", True

    def _queue(self, reader: Reader, tenant: str, queue: WaitingQueue) -> Iterator[QueuedJob]:
        jobs = [queue.head]
        while jobs:
            yield from jobs
            jobs = reader.jobs(tenant, queue.queue_key, jobs[-1].id, JOBS_AT_ONCE)


def take_turns(queues: Iterator[Iterator[QueuedJob]]) -> Iterator[QueuedJob]:
    """One job from each queue in turn until all are empty. A queue is read only when the first lap reaches it."""
    begun: deque[Iterator[QueuedJob]] = deque()
    for queue in queues:
        job = next(queue, None)
        if job is not None:
            yield job
            begun.append(queue)
    while begun:
        job = next(begun[0], None)
        if job is None:
            begun.popleft()
        else:
            yield job
            begun.rotate(-1)
