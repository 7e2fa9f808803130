"""The lines in which each tenant's jobs wait, in turn: its bulks, and its single jobs. Pure policy, without I/O.

A round reads as many queues as it releases jobs, and the next one goes on where it ended; so it costs the same however
many lines there are, and each of them has its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from limner_shared.db.release_queries import WaitingQueue

QUEUES_AT_ONCE = 64
QUEUES_A_ROUND = 1024
"""So many lines that may not be released now (paused, say) are passed over for one tenant in one round."""
JOBS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A queued job, as the policy sees it."""

    id: str
    cost: int
    losses: int
    queue_key: str = ""


class Reader(Protocol):
    """What waits of one model and class."""

    def queues(self, tenant: str, after: str, limit: int) -> list[WaitingQueue]:
        """A tenant's next queues, in the order of their names."""
        ...

    def jobs(self, tenant: str, queue_key: str, after: str, limit: int) -> list[tuple[str, int, int]]:
        """The next jobs of a queue: id, cost and losses."""
        ...


class WaitingQueues:
    """For one model and class: behind which line each tenant's next turn begins."""

    def __init__(self) -> None:
        self._behind: dict[str, str] = {}

    def keep(self, tenants: Iterable[str]) -> None:
        """Forget every other tenant: nothing of theirs waits."""
        known = set(tenants)
        self._behind = {tenant: queue_key for tenant, queue_key in self._behind.items() if tenant in known}

    def jobs(self, reader: Reader, tenant: str) -> Iterator[QueuedJob]:
        """A tenant's jobs, one of each line in turn, read only as far as they are asked for."""
        return take_turns(self._open_queues(reader, tenant))

    def took(self, tenant: str, job: QueuedJob) -> None:
        """This was the last of its jobs in a round: its next turn begins behind this queue."""
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
        """From behind where the turn is to the end, and then from the beginning to there."""
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
        rows = [queue.head]
        while rows:
            for row in rows:
                yield QueuedJob(*row, queue.queue_key)
            rows = reader.jobs(tenant, queue.queue_key, rows[-1][0], JOBS_AT_ONCE)


def take_turns(queues: Iterator[Iterator[QueuedJob]]) -> Iterator[QueuedJob]:
    """One from each line in turn until all are empty. A line is asked for only when the first lap comes to it."""
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
