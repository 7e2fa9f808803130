"""A pipeline's changes to the shared modules affect only the image whose code made them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from tests.engine import odd_pipelines, tiny_variants
from tests.engine.pipeline_jobs import job_of, reference, run

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.base import pictures_of
from limner_worker.generators.registry import load

REQUESTS: list[dict[str, Any]] = [
    {"prompt": "a cat", "seed": 1, "steps": 3, "guidance": 7.5},
    {"prompt": "two red apples on a table", "seed": 2, "steps": 6, "guidance": 3.0},
    {"prompt": "dog", "seed": 3, "steps": 4, "guidance": 5.0, "width": 64, "height": 32},
    {"prompt": "a boat", "seed": 4, "steps": 5, "guidance": 1.0},
]


def assert_equal_to_the_pipeline_alone(card: ModelCard) -> None:
    generator = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(number), request) for number, request in enumerate(REQUESTS)]
    assert run(generator, jobs) == {}
    for job in jobs:
        expected = reference(card, job)
        assert np.abs(job.rows[0].picture - expected * 255).max() <= 1, job.claim.spec


def test_attention_processors_of_one_image_do_not_change_another(tmp_path: Path) -> None:
    assert_equal_to_the_pipeline_alone(odd_pipelines.saved(odd_pipelines.pag, tmp_path))


def test_a_canceled_image_leaves_no_attention_processor_behind(tmp_path: Path) -> None:
    card = odd_pipelines.saved(odd_pipelines.pag, tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    before = dict(generator.pipeline.unet.attn_processors)
    [state] = generator.start([job_of(card, "a", REQUESTS[0]).rows[0].task])
    assert generator.pipeline.unet.attn_processors != before
    state.close()
    assert generator.pipeline.unet.attn_processors == before


@pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")
def test_a_batch_is_decoded_in_the_dtype_that_the_pipeline_casts_the_vae_to(tmp_path: Path) -> None:
    card = odd_pipelines.saved(odd_pipelines.overflowing, tmp_path, dtype="float16")
    generator: Any = load(card, Settings(device="cpu"))
    requests = [{"prompt": "a cat", "seed": seed, "steps": 2} for seed in range(4)]
    jobs = [job_of(card, str(number), request) for number, request in enumerate(requests)]
    states = generator.start([job.rows[0].task for job in jobs])
    assert [state.error for state in states] == [None] * 4
    while not states[0].finished:
        generator.step(states)
    assert {state.call.arguments["z"].dtype for state in states} == {torch.float32}
    pictures = pictures_of(generator.decode(states))
    assert max(states[0].task.buckets) == 4, "the four did not share a decode"
    assert generator.pipeline.vae.dtype is torch.float16
    for picture, job in zip(pictures, jobs, strict=True):
        assert np.abs(picture - reference(card, job) * 255).max() <= 2


@pytest.mark.filterwarnings("ignore:`callback_steps` is deprecated:FutureWarning")
def test_each_image_has_its_own_copy_of_every_scheduler_of_a_combined_pipeline(tmp_path: Path) -> None:
    assert_equal_to_the_pipeline_alone(odd_pipelines.saved(odd_pipelines.kandinsky_22, tmp_path))


@pytest.mark.long
def test_each_image_has_its_own_guider(tmp_path: Path) -> None:
    card = odd_pipelines.saved(odd_pipelines.hunyuan_image, tmp_path)
    assert_equal_to_the_pipeline_alone(card)


def test_a_guider_that_changes_the_denoiser_is_refused_at_load(tmp_path: Path) -> None:
    pipeline = odd_pipelines.hunyuan_image(tmp_path, diffusers.SkipLayerGuidance(skip_layer_guidance_layers=[0]))
    pipeline.save_pretrained(tmp_path / "skip", safe_serialization=True)
    with pytest.raises(CardError, match="SkipLayerGuidance changes the denoiser's layers"):
        load(odd_pipelines.card(tmp_path / "skip"), Settings(device="cpu"))


def test_reverted_changes_leave_the_hooks_with_which_a_text_encoder_collects_its_layers(tmp_path: Path) -> None:
    card = odd_pipelines.saved(tiny_variants.BUILDERS["StableDiffusionXLPAGPipeline"], tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    states: list[Any] = []
    for number, prompt in enumerate(("a cat", "a dog", "a boat")):  # each is encoded after another's changes
        states += generator.start([job_of(card, str(number), {"prompt": prompt, "seed": number}).rows[0].task])
        generator.step(states[-1:])
    assert [state.error for state in states] == [None] * 3
    for state in states:
        state.close()
