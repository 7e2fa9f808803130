"""What a step of a batch counts."""

from __future__ import annotations

import pytest
from tests.counters import counted

from limner_shared.db.ledger import Claim
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, Lane
from limner_shared.domain.scenes import Scene, SceneObject
from limner_worker.engine import measuring
from limner_worker.engine.job_run import JobRun

MODEL = "measured"


@pytest.mark.parametrize(("apples", "taken"), [(1, 1), (6, 6)])
def test_a_scene_counts_the_rows_of_all_its_drawings_and_only_the_rest_is_padding(
    catalogue: Catalogue, apples: int, taken: int
) -> None:
    spec = catalogue.resolve(JobRequest(prompt="apples"))[1].model_copy(update={"model": MODEL})
    [row] = JobRun(Claim("job", "tenant", None, 1, 2, Lane.NORMAL, spec), lambda: None).rows
    row.task.scene = Scene(objects=(SceneObject(said="apples", name="red apple", count=apples),))
    row.task.buckets = [8]
    names = ("limner_row_steps_total", "limner_padding_row_steps_total", "limner_batch_rows_sum")
    before = [counted(name, model=MODEL) for name in names]
    measuring.record_step([row], 0.1)
    assert [counted(name, model=MODEL) - was for name, was in zip(names, before, strict=True)] == [
        taken,
        8 - taken,
        taken,
    ]
