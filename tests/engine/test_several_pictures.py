"""Models that edit by instruction take several pictures: that of the request, then its references."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from tests.engine import odd_pipelines, pipelines
from tests.engine.pipeline_jobs import claimed, pictures, run

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import CardError, InvalidRequest
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.registry import load

ARGUMENTS = {"max_sequence_length": 64, "text_encoder_out_layers": [1]}
TWO = {"reference_images": ("0", "1")}
REQUESTS: list[dict[str, Any]] = [
    {"prompt": "the shirt of picture 2", "seed": 1, **TWO},
    {"prompt": "a hat", "seed": 2, **TWO},
    {"prompt": "the shirt of picture 2", "seed": 1, "image": "i", "reference_images": ("0",)},
    {"prompt": "a cat", "seed": 4, "image": "i"},
    {"prompt": "a boat", "seed": 5},
]


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> ModelCard:
    return odd_pipelines.saved(
        odd_pipelines.flux_2, tmp_path_factory.mktemp("edits"), sizes=[(64, 64)], reference={"most": 2},
        options={"arguments": ARGUMENTS}, tasks=("text-to-image", "image-to-image"),
    )  # fmt: skip


def job_of(card: ModelCard, name: str, request: dict[str, Any]) -> JobRun:
    job = claimed(card.resolve(JobRequest(**request)), name)
    spec, (picture, _) = job.claim.spec, pictures(64, 64)
    job.rows[0].task.image = picture if spec.image else None
    given = enumerate(spec.reference_images, 1)
    job.rows[0].task.reference_images = tuple(np.roll(picture, spec.seed + 7 * number, 1) for number, _ in given)
    return job


def alone(card: ModelCard, job: JobRun) -> np.ndarray:
    """What diffusers draws, called as its documentation says."""
    pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    pipe.set_progress_bar_config(disable=True)
    spec, task = job.claim.spec, job.rows[0].task
    given = [Image.fromarray(each) for each in (task.image, *task.reference_images) if each is not None]
    return pipe(
        image=given or None, prompt=spec.prompt, width=64, height=64, num_inference_steps=spec.steps, output_type="np",
        guidance_scale=spec.guidance, generator=torch.Generator().manual_seed(spec.seed), **ARGUMENTS,
    ).images[0]  # fmt: skip


def test_pictures_of_a_mixed_batch_equal_the_pipeline_with_the_same_list(card: ModelCard) -> None:
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(number), request) for number, request in enumerate(REQUESTS)]
    assert run(generator, jobs) == {}
    for job in jobs:
        found = job.rows[0].picture
        assert found is not None
        assert np.abs(found - alone(card, job) * 255).max() <= 1, job.id
    assert max(jobs[0].rows[0].task.buckets) > 1, "no two shared a call"


def test_a_pipeline_without_pictures_takes_no_references(tmp_path: Path) -> None:
    plain = odd_pipelines.saved(
        pipelines.pixart, tmp_path, reference={"most": 2}, guidance=dict.fromkeys(("min", "max", "default"), 4.5)
    )
    with pytest.raises(CardError, match="PixArtSigmaPipeline takes no pictures: remove reference from the card"):
        load(plain, Settings(device="cpu"))


def test_a_pipeline_that_takes_one_picture_takes_no_references(tmp_path: Path) -> None:
    plain = odd_pipelines.saved(
        pipelines.stable_diffusion, tmp_path, reference={"most": 2}, tasks=("image-to-image",), negative_prompts=True
    )
    with pytest.raises(CardError, match="image-to-image does not work with this pipeline"):
        load(plain, Settings(device="cpu"))


def test_there_is_no_scale_without_an_adapter(card: ModelCard) -> None:
    with pytest.raises(InvalidRequest, match="reference_scale"):
        card.resolve(JobRequest.model_validate({"prompt": "a cat", "reference_scale": 0.5} | TWO))
    assert card.resolve(JobRequest.model_validate({"prompt": "a cat"} | TWO)).reference_scale == 0
    with pytest.raises(ValidationError, match="scale: only an adapter has one"):
        ModelCard.model_validate(card.model_dump() | {"reference": {"scale": {"min": 0, "max": 1, "default": 0.5}}})
    assert ModelCard.model_validate(card.model_dump()).reference == card.reference
