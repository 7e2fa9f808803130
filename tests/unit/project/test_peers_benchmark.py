"""The benchmark against other servers judges median and 95th percentile at both loads, for each of its traces."""

from __future__ import annotations

from typing import Any

import pytest
from bench import peers

from limner_shared.domain.catalogue import Catalogue


def found(**ours: float) -> dict[str, dict[str, list[float]]]:
    figures = {"rate": 1.0, **dict.fromkeys(peers.columns(), 1.0)}
    servers = {"limner": figures | {"rate": 2.0, **dict.fromkeys(peers.columns(), 0.2)} | ours, "other": figures}
    return {name: {column: [value] * 3 for column, value in one.items()} for name, one in servers.items()}


def test_each_trace_has_the_steps_that_it_says() -> None:
    mixed, few = (peers.orders_of(peers.TRACES[name], 20) for name in ("mixed", "few"))
    assert sorted(order["steps"] <= 10 for order in mixed) == [False] * 10 + [True] * 10
    assert {order["steps"] for order in few} == {1, 2, 3, 4}


def test_both_percentiles_are_taken_at_both_loads_of_the_short_jobs_alone() -> None:
    def send(_: dict[str, Any]) -> None:
        """Answer at once."""

    orders = peers.orders_of(peers.TRACES["mixed"], 8)
    measured = peers.measure({"limner": send, "other": send}, orders, 10, 2)
    assert set(peers.columns()) == {"p50_at_50", "p95_at_50", "p50_at_80", "p95_at_80"}
    for one in measured.values():
        assert {column: len(values) for column, values in one.items()} == {
            "rate": 2, "all": 8, **dict.fromkeys(peers.columns(), 2),
        }  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "met"),
    [({}, True), *(({column: 0.4}, False) for column in peers.columns()), ({"rate": 0.9}, False)],
    ids=str,
)
def test_the_goal_is_met_by_all_figures_or_not_at_all(ours: dict[str, float], met: bool) -> None:
    figures, reached = peers.judged(found(**ours), 0.3)
    assert reached is met
    assert figures["rate"]["over_best_peer"]["median"] == ours.get("rate", 2.0)


def test_no_prompt_is_read_as_a_number_of_things() -> None:
    scenes = Catalogue.load([], "limner-flow").get(None).scenes
    prompts = [order["prompt"] for order in peers.orders_of(peers.TRACES["few"], 64)]
    assert len(set(prompts)) == 64
    assert scenes is not None
    assert min(int(prompt.rsplit(" ", 1)[1]) for prompt in prompts) > scenes.most
