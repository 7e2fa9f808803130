"""Deficit round robin over tenants, for any backlogs, weights, costs and round sizes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, cycle, islice, repeat
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner_dispatcher.fairness import Backlog, FairShare

COSTS = st.integers(1, 100)
WEIGHTS = st.sampled_from([0.5, 1.0, 1.5, 2.0, 4.0])
ROOMS = st.lists(st.integers(1, 12), min_size=1, max_size=60)
SHARES = {"one": 1.0, "two": 2.0, "four": 4.0}


@dataclass(frozen=True, slots=True)
class Task:
    number: int
    cost: int


@dataclass
class Tenant:
    """A tenant's waiting tasks, as in a database: tasks that were not chosen are read again in the next round."""

    costs: Iterator[int]
    weight: float = 1.0
    waiting: list[Task] = field(default_factory=list[Task])
    made: int = 0
    taken: list[Task] = field(default_factory=list[Task])

    def jobs(self) -> Iterator[Task]:
        position = 0
        while True:
            if position == len(self.waiting):
                cost = next(self.costs, None)
                if cost is None:
                    return
                self.waiting.append(Task(self.made, cost))
                self.made += 1
            yield self.waiting[position]
            position += 1

    @property
    def served(self) -> float:
        """Cost divided by weight, which the policy keeps equal between tenants."""
        return sum(task.cost for task in self.taken) / self.weight


def serve(share: FairShare, tenants: Mapping[str, Tenant], room: int) -> list[tuple[str, Task]]:
    chosen = share.choose({name: Backlog(tenant.weight, tenant.jobs()) for name, tenant in tenants.items()}, room)
    for name, task in chosen:
        tenants[name].waiting.remove(task)
        tenants[name].taken.append(task)
    return chosen


def tasks(costs: Sequence[int]) -> Iterator[Task]:
    return (Task(number, cost) for number, cost in enumerate(costs))


FINITE = st.lists(
    st.tuples(st.lists(COSTS, max_size=8), WEIGHTS, st.none() | st.integers(-2, 8)), min_size=1, max_size=5
)
ENDLESS = st.lists(st.tuples(st.lists(COSTS, min_size=1, max_size=5), WEIGHTS), min_size=2, max_size=5)


@given(FINITE, st.integers(0, 40))
def test_a_round_is_filled_with_all_jobs_that_fit(backlogs: Any, room: int):
    available = sum(
        len(costs) if allowed is None else min(len(costs), max(0, allowed)) for costs, _, allowed in backlogs
    )
    tenant_backlogs = {
        str(i): Backlog(weight, tasks(costs), allowed) for i, (costs, weight, allowed) in enumerate(backlogs)
    }
    assert len(FairShare().choose(tenant_backlogs, room)) == min(room, available)


@given(FINITE, st.integers(0, 40))
def test_no_tenant_gets_more_than_its_limit(backlogs: Any, room: int):
    tenant_backlogs = {
        str(i): Backlog(weight, tasks(costs), allowed) for i, (costs, weight, allowed) in enumerate(backlogs)
    }
    counts = Counter(name for name, _ in FairShare().choose(tenant_backlogs, room))
    for i, (_, _, allowed) in enumerate(backlogs):
        assert allowed is None or counts[str(i)] <= max(0, allowed)


@given(st.lists(st.tuples(st.lists(COSTS, max_size=8), WEIGHTS), min_size=1, max_size=5), ROOMS)
def test_each_tenants_jobs_are_chosen_once_and_in_order(backlogs: list[Any], rooms: Any):
    share = FairShare()
    tenants = {str(i): Tenant(iter(costs), weight) for i, (costs, weight) in enumerate(backlogs)}
    for room in rooms:
        serve(share, tenants, room)
    for tenant in tenants.values():
        assert [task.number for task in tenant.taken] == list(range(len(tenant.taken)))


@given(FINITE, st.integers(0, 12))
def test_a_backlog_is_read_only_up_to_its_next_job(backlogs: Any, room: int):
    read: Counter[str] = Counter()

    def counting(name: str, costs: list[int]) -> Iterator[Task]:
        for task in tasks(costs):
            read[name] += 1
            yield task

    tenant_backlogs = {
        str(i): Backlog(weight, counting(str(i), costs), allowed) for i, (costs, weight, allowed) in enumerate(backlogs)
    }
    chosen = Counter(name for name, _ in FairShare().choose(tenant_backlogs, room))
    assert all(read[name] <= chosen[name] + 1 for name in tenant_backlogs)


@given(ENDLESS, ROOMS)
def test_the_shares_of_busy_tenants_differ_by_at_most_a_few_of_the_most_expensive_jobs(backlogs: Any, rooms: Any):
    """Shreedhar and Varghese, theorem 2: in any interval the difference is at most a quantum and two maximum costs.

    Divided by weight these are M / w each. The quantum, the maximum visible cost, can grow once during a turn.
    """
    share = FairShare()
    tenants = {str(i): Tenant(cycle(costs), weight) for i, (costs, weight) in enumerate(backlogs)}
    max_cost = max(cost for costs, _ in backlogs for cost in costs)
    for room in rooms:
        serve(share, tenants, room)
        for one, other in combinations(tenants.values(), 2):
            bound = 2 * max_cost + max_cost / one.weight + max_cost / other.weight
            assert abs(one.served - other.served) <= bound


@pytest.mark.parametrize("rooms", [[1], [64], [1, 7, 30, 2]], ids=["one at a time", "many at a time", "varying"])
@pytest.mark.parametrize(
    "costs", [{"one": 10, "two": 10, "four": 10}, {"one": 400, "two": 20, "four": 1}], ids=["alike", "very different"]
)
def test_cost_is_shared_by_weight_within_5_percent_for_any_job_costs_and_round_sizes(costs: dict[str, Any], rooms: Any):
    share = FairShare()
    tenants = {name: Tenant(repeat(costs[name]), weight) for name, weight in SHARES.items()}
    taken, next_room, goal = 0, cycle(rooms), 700 * max(costs.values())
    while taken < goal:
        taken += sum(task.cost for _, task in serve(share, tenants, next(next_room)))
    total = sum(tenant.served * tenant.weight for tenant in tenants.values())
    for name, weight in SHARES.items():
        assert tenants[name].served * weight / total == pytest.approx(weight / 7, rel=0.05)


@given(st.lists(COSTS, min_size=1, max_size=5), ROOMS, ROOMS, WEIGHTS)
def test_a_tenant_that_was_idle_is_served_like_a_new_tenant(costs: list[Any], before: Any, after: Any, weight: Any):
    sequences: list[list[tuple[str, float]]] = []
    for name in ("earlier", "new"):
        share, busy = FairShare(), {"busy": Tenant(cycle(costs))}
        # it has credit left and the next turn, and then no waiting jobs for a while
        serve(share, {"earlier": Tenant(iter([1, 100, 100]), weight)} | busy, 3)
        for room in before:
            serve(share, busy, room)
        tenants = busy | {name: Tenant(cycle(reversed(costs)), weight)}
        chosen = [pair for room in after for pair in serve(share, tenants, room)]
        sequences.append([("busy" if who == "busy" else "other", task.cost) for who, task in chosen])
    assert sequences[0] == sequences[1]


@given(ENDLESS, ROOMS, COSTS, st.sampled_from([1.0, 2.0, 4.0]))
def test_a_new_tenant_waits_for_at_most_one_turn_of_each_other_tenant(
    backlogs: Any, rooms: list[int], cost: Any, weight: Any
):
    share = FairShare()
    tenants = {str(i): Tenant(cycle(costs), weight) for i, (costs, weight) in enumerate(backlogs)}
    for room in rooms:
        serve(share, tenants, room)
    before = {name: tenant.served * tenant.weight for name, tenant in tenants.items()}
    all_tenants = tenants | {"joins": Tenant(repeat(cost), weight)}
    turns: list[str] = []
    for room in islice(cycle(rooms), 2000):
        turns += [name for name, _ in serve(share, all_tenants, room)]
        if "joins" in turns:
            break
    ahead = turns[: turns.index("joins")]
    max_cost = max([cost, *(cost for costs, _ in backlogs for cost in costs)])
    for name, tenant in tenants.items():
        went = list(islice(reversed(tenant.taken), turns.count(name)))[::-1][: ahead.count(name)]
        assert sum(task.cost for task in went) <= max_cost * tenant.weight + max_cost
        assert tenant.served * tenant.weight >= before[name]
    # the turns are contiguous: no tenant is served again after another tenant was served
    changes = [name for i, name in enumerate(ahead) if i == 0 or ahead[i - 1] != name]
    assert len(changes) == len(set(changes))


def test_a_tenant_at_its_limit_is_skipped_until_the_limit_allows_more():
    share = FairShare()
    first = share.choose({"held": Backlog(1, tasks([5] * 9), 1), "free": Backlog(1, tasks([5] * 9))}, 4)
    assert Counter(name for name, _ in first) == {"held": 1, "free": 3}
    again = share.choose({"held": Backlog(1, tasks([5] * 9), 2), "free": Backlog(1, tasks([5] * 9))}, 4)
    assert Counter(name for name, _ in again) == {"held": 2, "free": 2}
