"""Workers whose models do not fit into memory together: each model is served, by workers that load it when it waits."""

from __future__ import annotations

import pytest

from limner_shared.domain.jobs import JobState
from tests.processes import Service

pytestmark = pytest.mark.long
STEPS = {"limner-flow": 2, "limner-gan": 1}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_with_memory_for_one_model_serve_the_jobs_of_two(service: Service, workers: int):
    service.change_settings({"model_memory_bytes": 1})  # a model that is larger than the limit is loaded alone
    service.start("dispatcher")
    service.start_workers(workers)
    ids = [
        each
        for seed in range(12)
        for model, steps in STEPS.items()
        for each in service.submit(model=model, steps=steps, seed=seed)
    ]
    jobs = service.wait(ids, 120)
    assert {job.state for job in jobs} == {JobState.SUCCEEDED}, service.logs()
    assert {job.losses for job in jobs} == {0}
