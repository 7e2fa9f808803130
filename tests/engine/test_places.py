"""Places in a batch: on a GPU a row's bits may depend on them, which a changed denoiser stands in for here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from tests.engine.pipeline_jobs import card_of, claimed, run

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.domain.replay import replay_spec
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.registry import load
from limner_worker.stages.picture_files import receipt_of


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipelines")


def by_place(denoiser: Callable[..., Any]) -> Callable[..., Any]:
    """Add a little to each row, by its place, as if each place had a kernel of its own."""

    def changed(*args: Any, **kwargs: Any) -> Any:
        output = denoiser(*args, **kwargs)
        rows: Any = cast("tuple[Any, ...]", output)[0] if isinstance(output, tuple) else output
        rows += 0.01 * torch.arange(len(rows)).view(-1, 1, 1, 1)
        return cast("Any", output)

    return changed


@pytest.fixture(scope="module", params=["diffusers", "latent-flow"])
def generator(request: pytest.FixtureRequest, folder: Path) -> Any:
    if request.param == "diffusers":
        made: Any = DiffusersPipeline(card_of("stable_diffusion", folder), "cpu", 1 << 20)
        made._functions["unet.forward"] = by_place(made._functions["unet.forward"])
    else:
        made = load(Catalogue.load([], "limner-flow").get(None), Settings(device="cpu"))
        made._denoiser = by_place(made._denoiser)
    made._device.places_matter = True
    return made


def same(one: JobRun, other: JobRun) -> bool:
    first, second = one.rows[0].picture, other.rows[0].picture
    assert first is not None
    assert second is not None
    return np.array_equal(first, second)


def drawn(generator: Any, specs: list[JobSpec]) -> list[JobRun]:
    jobs = [claimed(spec, str(number)) for number, spec in enumerate(specs)]
    assert not run(generator, jobs)
    return jobs


def specs_of(generator: Any, **more: Any) -> list[JobSpec]:
    """One of the jobs of the built-in model is a scene, which takes two rows."""
    prompts = ["a cat", "two apples", "a car", "a sun"]
    return [
        generator.card.resolve(JobRequest(prompt=prompt, seed=number, steps=3 + number % 2, **more))
        for number, prompt in enumerate(prompts)
    ]


def test_a_replay_at_the_places_of_its_receipt_has_the_same_bytes(generator: Any) -> None:
    jobs = drawn(generator, specs_of(generator))
    receipts = [receipt_of(job.rows[0]) for job in jobs]
    assert any("places" in receipt for receipt in receipts), "all jobs were first in each of their batches"
    replayed = [replay_spec(job.claim.spec, [receipt]) for job, receipt in zip(jobs, receipts, strict=True)]
    for job, again in zip(jobs, drawn(generator, replayed), strict=True):
        assert same(job, again)
        assert again.rows[0].task.places == job.rows[0].task.places
    elsewhere = [spec.model_copy(update={"replay_places": ()}) for spec in replayed]
    again = drawn(generator, elsewhere)
    assert not all(map(same, jobs, again))


def test_reproducible_jobs_have_the_same_bytes_at_any_load(generator: Any) -> None:
    specs = specs_of(generator, reproducible=True)
    together = drawn(generator, specs)
    for spec, job in zip(specs, together, strict=True):
        [alone] = drawn(generator, [spec])
        assert same(alone, job)
        assert not any(job.rows[0].task.places)
