"""SDXL and its refiner in sequence: one job, whose last steps the refiner draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import diffusers
import numpy as np
import pytest
import torch
from tests.engine import odd_pipelines, pipelines
from tests.engine.pipeline_jobs import choose_scheduler, finish, job_of, run
from tests.engine.resuming import wrong_steps

from limner_shared.domain.card_fields import Refiner, Source
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.registry import load

d: Any = diffusers
LOUD = 30
SCHEDULERS = ("DPMSolverMultistepScheduler", "HeunDiscreteScheduler", "EulerAncestralDiscreteScheduler")
REQUESTS: list[dict[str, Any]] = [
    {"prompt": "a cat", "seed": 1, "steps": 10},
    {"prompt": "two red apples on a table", "seed": 2, "steps": 10, "guidance": 3.0, "negative_prompt": "blue"},
    {"prompt": "dog", "seed": 3, "steps": 7, "guidance_rescale": 0.7},
    {"prompt": "a boat", "seed": 4, "steps": 2, "guidance": 1.0},
    {"prompt": "a tree", "seed": 5, "steps": 1},
    *({"prompt": "a fish", "seed": 6, "steps": 5, "scheduler": name} for name in SCHEDULERS),
]


def refiner(folder: Path) -> Any:
    """SDXL's refiner: it has one text encoder, and takes a score instead of the picture's place. Each of its steps
    changes a picture by much more than the tolerance.
    """
    denoiser = pipelines.unet(
        cross_attention_dim=16, addition_embed_type="text_time", addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=5 * 8 + 16, use_linear_projection=True,
    )  # fmt: skip
    denoiser.conv_out.weight.data *= LOUD
    return d.StableDiffusionXLImg2ImgPipeline(
        text_encoder=None, tokenizer=None, text_encoder_2=pipelines.clip_text(projection=True),
        tokenizer_2=pipelines.clip_tokenizer(folder / "2"), vae=pipelines.vae(), scheduler=d.EulerDiscreteScheduler(),
        unet=denoiser,
        requires_aesthetics_score=True,
    )  # fmt: skip


def card_of(folder: Path, **more: Any) -> ModelCard:
    base = odd_pipelines.saved(pipelines.stable_diffusion_xl, folder)
    second = odd_pipelines.saved(refiner, folder)
    about = {
        "refiner": Refiner(source=second.source, switch_at=0.6),
        "schedulers": SCHEDULERS,
        "negative_prompts": True,
    }
    return odd_pipelines.card(base.source.folder or folder, **about | {"negative_prompts": True} | more)


def alone(card: ModelCard, job: JobRun) -> np.ndarray:
    """What diffusers draws, with base and refiner combined as its documentation says."""
    spec, about = job.claim.spec, card.refiner
    assert about is not None
    base: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    if spec.scheduler:
        choose_scheduler(base, spec.scheduler)
    second: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(
        str(about.source.folder), text_encoder_2=base.text_encoder_2, vae=base.vae, scheduler=base.scheduler
    )
    common: dict[str, Any] = {
        "prompt": spec.prompt, "negative_prompt": spec.negative_prompt or None, "num_inference_steps": spec.steps,
        "guidance_scale": spec.guidance, "guidance_rescale": spec.guidance_rescale,
        "generator": torch.Generator().manual_seed(spec.seed),
    }  # fmt: skip
    size = {"width": spec.width, "height": spec.height}
    latents = base(**common, **size, denoising_end=about.switch_at, output_type="latent").images
    return second(**common, image=latents, denoising_start=about.switch_at, output_type="np").images[0]


def test_a_mixed_batch_equals_base_and_refiner_alone(tmp_path: Path):
    card = card_of(tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(number), request) for number, request in enumerate(REQUESTS)]
    assert run(generator, jobs) == {}
    assert generator.unbatched_calls == set()
    assert max(max(job.rows[0].task.buckets) for job in jobs[:2]) > 1, "no two shared a call"
    plain: Any = load(card.model_copy(update={"refiner": None}), Settings(device="cpu"))
    unrefined = job_of(card, "unrefined", REQUESTS[0])
    assert run(plain, [unrefined]) == {}
    for job in jobs:
        found = job.rows[0].picture
        assert found is not None
        assert np.abs(found - alone(card, job) * 255).max() <= 1, job.claim.spec
        assert job.rows[0].steps_done == job.claim.spec.steps
    assert not np.array_equal(cast("Any", jobs[0].rows[0].picture), cast("Any", unrefined.rows[0].picture))
    receipt = generator.fingerprint()
    assert receipt["refiner"]["switch_at"] == 0.6
    assert any(name.startswith("refiner/unet") for name in receipt["weights"])


def test_a_picture_is_resumed_with_the_same_bytes_before_and_after_the_refiner_took_over(tmp_path: Path):
    card = card_of(tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    assert list(wrong_steps(generator, card, {"prompt": "a cat", "seed": 1, "steps": 6})) == []


def test_what_is_no_base_or_no_refiner_is_refused_with_the_card(tmp_path: Path):
    card = card_of(tmp_path)
    twice = {"refiner": Refiner(source=card.source)}
    with pytest.raises(CardError, match="refiner: StableDiffusionXLPipeline takes no latents of a base"):
        load(card.model_copy(update=twice), Settings(device="cpu"))
    other = odd_pipelines.saved(pipelines.z_image, tmp_path)
    with pytest.raises(CardError, match="refiner: ZImagePipeline hands no latents to a refiner"):
        load(other.model_copy(update={"refiner": card.refiner}), Settings(device="cpu"))
    lost = {"refiner": Refiner(source=Source(folder=tmp_path / "nowhere"))}
    with pytest.raises(CardError, match="nowhere does not exist"):
        load(card.model_copy(update=lost), Settings(device="cpu"))


def test_images_that_run_out_of_memory_between_two_calls_go_on_with_those_that_they_wait_for(tmp_path: Path):
    card = card_of(tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(steps), {"prompt": "a cat", "seed": steps, "steps": steps}) for steps in (5, 10, 10)]
    assert run(generator, jobs) == {}
    encode, calls = generator._functions["text_encoder_2.forward"], iter([True])

    def out_of_memory_once(*args: Any, **kwargs: Any) -> Any:
        if next(calls, False):
            raise torch.OutOfMemoryError
        return encode(*args, **kwargs)

    with generator.without_text_cache():
        states = generator.start([replace(job.rows[0].task, buckets=[]) for job in jobs])
        generator._functions["text_encoder_2.forward"] = out_of_memory_once
        with pytest.raises(torch.OutOfMemoryError):
            finish(generator, states)
        assert len({state.kind for state in states}) > 1
        drawn = finish(generator, states)
    for found, job in zip(drawn, jobs, strict=True):
        expected = job.rows[0].picture
        assert expected is not None
        assert np.abs(found.astype(int) - expected).max() <= 1
