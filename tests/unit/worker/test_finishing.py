"""What is left to do to drawn pictures is done on threads of its own, for each job by itself."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest

from limner_shared.db.ledger import Claim
from limner_shared.domain.jobs import JobSpec, Lane
from limner_shared.errors import LimnerError
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.base import Picture
from limner_worker.stages.finishing import Finishing


class Outcomes:
    """Finishes jobs, and records what becomes of them."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.errors: dict[str, str] = {}
        self.finishing = Finishing(Supervisor(), self.finished, self.failed)

    def finished(self, jobs: Sequence[JobRun], fingerprint: dict[str, Any]) -> None:
        assert fingerprint == {"model": "null"}
        self.groups.append([job.id for job in jobs])

    def failed(self, job: JobRun, error: LimnerError) -> None:
        self.errors[job.id] = error.code

    def of(self, jobs: Sequence[JobRun]) -> Outcomes:
        self.finishing.submit(jobs, {"model": "null"})
        self.finishing.close()
        return self


def drawn(name: str) -> JobRun:
    """A run of two drawn pictures, which are not finished."""
    spec = JobSpec(model="null", prompt="a cat", seed=1, width=64, height=64, steps=1, guidance=1.0, n=2)
    run = JobRun(Claim(name, "local", None, 1, 2, Lane.NORMAL, spec), lambda: None)
    for row in run.rows:
        row.drawn = partial(np.full, (64, 64, 3), 10 + row.index, np.uint8)
    return run


def test_every_row_has_its_picture_and_keeps_nothing_else() -> None:
    runs = [drawn("a"), drawn("b")]
    assert Outcomes().of(runs).groups == [["a", "b"]]
    assert [[int(np.mean(row.picture)) for row in run.rows if row.picture is not None] for run in runs] == [
        [10, 11]
    ] * 2
    assert all(row.drawn is None for run in runs for row in run.rows)


@pytest.mark.parametrize(
    ("raised", "code"), [(ValueError("a bug"), "generation_failed"), (MemoryError(), "out_of_memory")]
)
def test_a_job_whose_picture_cannot_be_finished_fails_alone(raised: Exception, code: str) -> None:
    def finish() -> Picture:
        raise raised

    runs = [drawn("a"), drawn("b"), drawn("c")]
    runs[1].rows[1].drawn = finish
    found = Outcomes().of(runs)
    assert [name for group in found.groups for name in group] == ["a", "c"]
    assert found.errors == {"b": code}


def test_a_finished_job_does_not_wait_for_one_that_takes_long() -> None:
    stored = threading.Event()

    def finish() -> Picture:
        assert stored.wait(10)
        return np.zeros((64, 64, 3), np.uint8)

    class Waiting(Outcomes):
        def finished(self, jobs: Sequence[JobRun], fingerprint: dict[str, Any]) -> None:
            super().finished(jobs, fingerprint)
            stored.set()

    found = Waiting()
    slow, quick = drawn("slow"), drawn("quick")
    slow.rows[0].drawn = finish
    found.finishing.submit([slow], {"model": "null"})
    found.of([quick])
    assert found.groups == [["quick"], ["slow"]]
    assert found.errors == {}
