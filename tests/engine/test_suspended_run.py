"""Pipelines with other names for outputs, components and arguments give the same pictures as alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engine import odd_pipelines, pipelines, tiny_variants
from tests.engine.pipeline_jobs import finish, job_of, reference, run
from tests.engine.resuming import wrong_steps
from tests.engine.tiny_builders import ARGUMENTS

from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask, pictures_of
from limner_worker.generators.diffusers.call_arguments import CallArguments
from limner_worker.generators.diffusers.checkpoint import Checkpoint
from limner_worker.generators.registry import load

SELF_ATTENTION_GUIDANCE = tiny_variants.BUILDERS["StableDiffusionSAGPipeline"]
RESUMED = [
    pytest.param(SELF_ATTENTION_GUIDANCE, id="steps that need what the earlier ones computed"),
    pytest.param(odd_pipelines.hunyuan_image, id="a guider with a momentum", marks=pytest.mark.long),
    pytest.param(pipelines.stable_diffusion, id="a common one"),
]


@pytest.mark.parametrize(
    ("build", "size"),
    [pytest.param(odd_pipelines.kandinsky_5, 1024, marks=pytest.mark.long), (odd_pipelines.latent_diffusion, 32)],
)
def test_a_picture_is_found_under_any_output_name(tmp_path: Path, build: Callable[[Path], Any], size: int) -> None:
    card = odd_pipelines.saved(build, tmp_path, sizes=[(size, size)])
    generator = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(seed), {"prompt": "a cat", "seed": seed, "steps": 1 + seed}) for seed in range(2)]
    assert run(generator, jobs) == {}
    for job in jobs:
        assert np.abs(job.rows[0].picture - reference(card, job) * 255).max() <= 1, job.claim.spec


def test_an_image_has_done_no_step_before_its_scheduler_has_timesteps(tmp_path: Path) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    [state] = generator.start([job_of(card, "a", {"prompt": "a cat"}).rows[0].task])
    del state._scheduler.timesteps
    assert state.steps_done == 0


def test_a_pipeline_that_reads_results_by_name_resumes_from_a_checkpoint_to_the_same_bytes(tmp_path: Path) -> None:
    card = odd_pipelines.saved(odd_pipelines.latent_diffusion, tmp_path)
    request = {"prompt": "a cat", "seed": 1, "steps": 6}
    whole, first, second = (job_of(card, name, request).rows[0].task for name in ("whole", "first", "second"))
    generator: Any = load(card, Settings(device="cpu"))
    [expected] = finish(generator, generator.start([whole]))
    [state] = generator.start([first])
    while state.steps_done < 3:
        generator.step([state])
    second.checkpoint = state.checkpoint()
    [resumed] = generator.start([second])
    assert resumed.error is None
    assert resumed.steps_done == 3
    [found] = finish(generator, [resumed])
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("build", RESUMED)
def test_a_picture_resumed_after_any_step_has_the_bytes_of_one_without_interruption(tmp_path: Path, build: Any) -> None:
    options = {"arguments": ARGUMENTS.get(build.__name__, {})}
    card = odd_pipelines.saved(build, tmp_path, options=options, sizes=[(32, 32)])
    generator: Any = load(card, Settings(device="cpu"))
    assert wrong_steps(generator, card, {"prompt": "a cat", "seed": 1, "steps": 5}) == []


def test_a_checkpoint_keeps_the_order_of_its_tensors_in_memory() -> None:
    latents = torch.randn(1, 4, 8, 6).contiguous(memory_format=torch.channels_last)
    data = Checkpoint.write(2, latents, latents, {}, torch.Generator())
    checkpoint = Checkpoint.read(data)
    assert checkpoint is not None
    restored = checkpoint.restore({}, torch.Generator(), torch.device("cpu"))
    assert torch.equal(restored, latents)
    assert restored.stride() == latents.stride()


def test_a_picture_whose_denoiser_fills_a_cache_has_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A worker that continues it would skip the calls that fill the cache. Qwen-Image 2.1 has one."""
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    original, cache = CallArguments.given, object()

    def given(arguments: CallArguments, task: ImageTask) -> dict[str, Any]:
        attention = {"cache": cache} if task.seed == 1 else {}
        return original(arguments, task) | {"cross_attention_kwargs": attention}

    monkeypatch.setattr(CallArguments, "given", given)
    tasks = [job_of(card, str(seed), {"prompt": "a cat", "seed": seed}).rows[0].task for seed in (1, 2)]
    for state, has_one in zip(generator.start(tasks), (False, True), strict=True):
        for _ in range(2):
            generator.step([state])
        assert state.error is None
        assert (state.checkpoint() is not None) == has_one


def test_an_image_that_only_has_to_be_decoded_resumes_from_its_checkpoint(tmp_path: Path) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    request = {"prompt": "a cat", "seed": 1, "steps": 4}
    first, second = (job_of(card, name, request).rows[0].task for name in ("first", "second"))
    generator: Any = load(card, Settings(device="cpu"))
    [state] = generator.start([first])
    while not state.finished:
        generator.step([state])
    second.checkpoint = state.checkpoint()
    assert second.checkpoint is not None
    [expected] = pictures_of(generator.decode([state]))
    [resumed] = generator.start([second])
    assert resumed.error is None
    assert resumed.finished
    [found] = pictures_of(generator.decode([resumed]))
    assert np.array_equal(found, expected)
