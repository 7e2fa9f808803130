"""The order of releases within a tenant and between tenants, for any number of queues per tenant."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from itertools import combinations, cycle, islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner_dispatcher.fairness import FairShare
from limner_dispatcher.release import Backlogs
from limner_dispatcher.waiting_queues import QUEUES_A_ROUND, QUEUES_AT_ONCE, WaitingQueues
from limner_shared.db.release_queries import Share
from limner_shared.domain.waiting_queue import QueuedJob, WaitingQueue

COST = 7


@dataclass
class Queue:
    """Waiting jobs by tenant and queue, as read from a database; a queue with a minus in its name is not open."""

    waiting: dict[str, dict[str, list[str]]]
    read: int = 0
    names: dict[str, list[str]] = field(default_factory=dict[str, list[str]])

    def queues(self, tenant: str, after: str, limit: int) -> list[WaitingQueue]:
        names = self.names[tenant]
        first = bisect_right(names, after)
        found = [name for name in names[first:] if self.waiting[tenant][name]][:limit]
        self.read += len(found)
        heads = {name: QueuedJob(self.waiting[tenant][name][0], COST, 0, name) for name in found}
        return [WaitingQueue(name, "-" not in name, head) for name, head in heads.items()]

    def jobs(self, tenant: str, queue_key: str, after: str, limit: int) -> list[QueuedJob]:
        return [QueuedJob(job, COST, 0, queue_key) for job in self.waiting[tenant][queue_key] if job > after][:limit]

    def tenants(self) -> list[str]:
        return sorted(tenant for tenant, lines in self.waiting.items() if any(lines.values()))

    def has_open(self, tenant: str) -> bool:
        return any(jobs for name, jobs in self.waiting[tenant].items() if "-" not in name)


def queue_of(sizes: list[tuple[int, int, int]]) -> Queue:
    """Create waiting jobs; `sizes` has (open queues, closed queues, jobs per queue) for each tenant."""
    waiting: dict[str, dict[str, list[str]]] = {}
    for number, (opened, closed, jobs) in enumerate(sizes):
        names = [f"line{i:05}" for i in range(opened)] + [f"line{i:05}-" for i in range(closed)]
        waiting[f"tenant{number}"] = {
            name: [f"{number}/{name}/{job:03}" for job in range(jobs)] for name in sorted(names)
        }
    return Queue(waiting, names={tenant: list(lines) for tenant, lines in waiting.items()})


@dataclass
class Rounds:
    """The dispatcher's state between rounds."""

    share: FairShare = field(default_factory=FairShare)
    lines: WaitingQueues = field(default_factory=WaitingQueues)

    def release(self, queue: Queue, room: int) -> list[tuple[str, QueuedJob]]:
        """Run one round; chosen jobs are removed from the waiting jobs."""
        tenants = queue.tenants()
        self.lines.keep(tenants)
        backlogs = Backlogs(
            tenants,
            lambda some: {tenant: Share(1.0, None, 0) for tenant in some},
            lambda tenant: self.lines.jobs(queue, tenant),
        )
        chosen = self.share.choose(backlogs, room)
        for tenant, job in chosen:
            self.lines.took(tenant, job)
            queue.waiting[tenant][job.queue_key].remove(job.id)
        return chosen


SIZES = st.lists(
    st.tuples(st.sampled_from([1, 2, 63, 64, 65, 1500, 4000]), st.sampled_from([0, 0, 3, 200]), st.integers(1, 3)),
    min_size=2,
    max_size=4,
)
ROOMS = st.lists(st.sampled_from([1, 2, 7, 64, 300]), min_size=3, max_size=12)


@settings(max_examples=40, deadline=None)
@given(SIZES, ROOMS)
def test_tenants_are_served_equally_for_any_number_of_queues(sizes: Any, rooms: Any):
    queue, rounds = queue_of(sizes), Rounds()
    served: Counter[str] = Counter()
    for room in rooms:
        chosen = rounds.release(queue, room)
        served.update(tenant for tenant, _ in chosen)
        busy = [tenant for tenant in queue.waiting if queue.has_open(tenant)]
        assert len(chosen) == room or not busy
        for one, other in combinations(busy, 2):
            assert abs(served[one] - served[other]) <= 1


@pytest.mark.long
@settings(max_examples=40, deadline=None)
@given(SIZES, ROOMS)
def test_the_queues_of_a_tenant_take_turns(sizes: Any, rooms: list[int]):
    queue, rounds = queue_of(sizes), Rounds()
    for room in islice(cycle(rooms), 40):
        rounds.release(queue, room)
        for number, (opened, _, jobs) in enumerate(sizes):
            left = [len(queue.waiting[f"tenant{number}"][f"line{i:05}"]) for i in range(opened)]
            assert max(left) - min(left) <= 1 or min(left) == 0
            assert max(left) <= jobs


@settings(max_examples=20, deadline=None)
@given(SIZES, st.sampled_from([64, 300]))
def test_exactly_the_open_jobs_are_released_once(sizes: Any, room: Any):
    queue, rounds = queue_of(sizes), Rounds()
    released: Counter[str] = Counter()
    while chosen := rounds.release(queue, room):
        released.update(job.id for _, job in chosen)
    assert max(released.values()) == 1
    assert len(released) == sum(opened * jobs for opened, _, jobs in sizes)


def test_a_round_reads_at_most_one_queue_per_released_job_and_a_few_pages():
    queue, rounds = queue_of([(10_000, 0, 1), (3, 0, 1)]), Rounds()
    for _ in range(20):
        queue.read = 0
        chosen = rounds.release(queue, 64)
        assert len(chosen) == 64
        assert queue.read <= 64 + 2 * 2 * QUEUES_AT_ONCE


def test_a_queue_behind_thousands_of_paused_ones_is_served_within_a_few_rounds():
    queue, rounds = queue_of([(0, 5000, 1), (1, 0, 999)]), Rounds()
    queue.waiting["tenant0"]["z"] = ["z/1"]
    queue.names["tenant0"].append("z")
    for _ in range(5000 // QUEUES_A_ROUND + 1):
        queue.read = 0
        rounds.release(queue, 4)
        assert queue.read <= QUEUES_A_ROUND + 3 * QUEUES_AT_ONCE
    assert not queue.waiting["tenant0"]["z"]
