"""The lines in which each tenant's jobs wait, in turn: its bulks, and its single jobs. Pure policy, without I/O.

A round reads as many lines as it releases jobs, and the next one goes on where it ended; so it costs the same however
many lines there are, and each of them has its turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from limner_shared.db.release_queries import WaitingQueue

LINES_AT_ONCE = 64
LINES_A_ROUND = 1024
"""So many lines that may not be released now (paused, say) are passed over for one tenant in one round."""
JOBS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class QueuedJob:
    """A queued job, as the policy sees it."""

    id: str
    cost: int
    losses: int
    flow: str = ""


class Reader(Protocol):
    """What waits of one model and class."""

    def lines(self, tenant: str, after: str, limit: int) -> list[WaitingQueue]:
        """A tenant's next lines, in the order of their names."""
        ...

    def jobs(self, tenant: str, flow: str, after: str, limit: int) -> list[tuple[str, int, int]]:
        """The next jobs of a line: id, cost and losses."""
        ...


class WaitingQueues:
    """For one model and class: behind which line each tenant's next turn begins."""

    def __init__(self) -> None:
        self._behind: dict[str, str] = {}

    def keep(self, tenants: Iterable[str]) -> None:
        """Forget every other tenant: nothing of theirs waits."""
        known = set(tenants)
        self._behind = {tenant: flow for tenant, flow in self._behind.items() if tenant in known}

    def jobs(self, reader: Reader, tenant: str) -> Iterator[QueuedJob]:
        """A tenant's jobs, one of each line in turn, read only as far as they are asked for."""
        return take_turns(self._open_lines(reader, tenant))

    def took(self, tenant: str, job: QueuedJob) -> None:
        """This was the last of its jobs in a round: its next turn begins behind this line."""
        self._behind[tenant] = job.flow

    def _open_lines(self, reader: Reader, tenant: str) -> Iterator[Iterator[QueuedJob]]:
        passed_over = 0
        for line in self._lines(reader, tenant):
            if line.open:
                yield self._line(reader, tenant, line)
                continue
            passed_over += 1
            if passed_over == LINES_A_ROUND:
                self._behind[tenant] = line.flow
                return

    def _lines(self, reader: Reader, tenant: str) -> Iterator[WaitingQueue]:
        """From behind where the turn is to the end, and then from the beginning to there."""
        start = self._behind.get(tenant, "")
        after, wrapped = start, not start
        while True:
            page = reader.lines(tenant, after, LINES_AT_ONCE)
            for line in page:
                if wrapped and start and line.flow > start:
                    return
                yield line
            if len(page) == LINES_AT_ONCE:
                after = page[-1].flow
            elif wrapped:
                return
            else:
                after, wrapped = "", True

    def _line(self, reader: Reader, tenant: str, line: WaitingQueue) -> Iterator[QueuedJob]:
        rows = [line.head]
        while rows:
            for row in rows:
                yield QueuedJob(*row, line.flow)
            rows = reader.jobs(tenant, line.flow, rows[-1][0], JOBS_AT_ONCE)


def take_turns(lines: Iterator[Iterator[QueuedJob]]) -> Iterator[QueuedJob]:
    """One from each line in turn until all are empty. A line is asked for only when the first lap comes to it."""
    begun: deque[Iterator[QueuedJob]] = deque()
    for line in lines:
        job = next(line, None)
        if job is not None:
            yield job
            begun.append(line)
    while begun:
        job = next(begun[0], None)
        if job is None:
            begun.popleft()
        else:
            yield job
            begun.rotate(-1)
