"""How many workers a pool should have, and the option that sets its limits."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from limner_client.cli.run import up
from limner_client.local.worker_scaling import ScalingRules, WorkerScaling, seconds_of_work

RULES = ScalingRules(least=0, most=10, target_seconds=60, cooldown_seconds=600)


def test_the_seconds_of_work_leave_idle_time_out() -> None:
    assert seconds_of_work(10, ended=4, busy_seconds=8, default_seconds=30) == 20
    assert seconds_of_work(10, ended=0, busy_seconds=8, default_seconds=30) == 300
    assert seconds_of_work(0, ended=0, busy_seconds=0, default_seconds=30) == 0


def test_a_pool_starts_with_the_first_job_and_grows_to_the_work_divided_by_the_target() -> None:
    scaling = WorkerScaling(RULES)
    assert scaling.workers(0, 0, 0.0) == 0
    assert scaling.workers(15, 0, 0.1) == 1
    assert scaling.workers(30, 1, 170) == 3
    assert scaling.workers(45, 3, 190) == 3  # within the tolerance
    assert scaling.workers(60, 3, 10_000) == 7  # four at a time, or twice as many
    assert scaling.workers(75, 7, 10_000) == 10  # the most


def test_a_pool_shrinks_to_what_the_cool_down_wanted_and_to_none_after_it() -> None:
    scaling = WorkerScaling(RULES)
    assert scaling.workers(0, 6, 360) == 6
    assert scaling.workers(300, 6, 200) == 6
    assert scaling.workers(600, 6, 0) == 6
    assert scaling.workers(601, 6, 0) == 4
    assert scaling.workers(901, 4, 0) == 0


def test_a_pool_keeps_one_worker_while_jobs_are_drawn() -> None:
    scaling = WorkerScaling(RULES)
    assert scaling.workers(0, 1, 0, drawing=True) == 1
    assert scaling.workers(5000, 1, 0, drawing=True) == 1
    assert scaling.workers(5600, 1, 0) == 1
    assert scaling.workers(5601, 1, 0) == 0


def test_a_pool_keeps_its_least_number() -> None:
    scaling = WorkerScaling(ScalingRules(least=2, most=4, cooldown_seconds=10))
    assert scaling.workers(0, 0, 0) == 2
    assert scaling.workers(100, 4, 0) == 2


@pytest.mark.parametrize("value", ["0", "-1", "4-1", "a", "1-", "1-2-3", "1-65", "", "٣-٤-"])
def test_impossible_limits_are_a_usage_error(value: str) -> None:
    result = CliRunner().invoke(up, ["--workers", value])
    assert result.exit_code == 2, result.output
    assert "workers" in result.output
