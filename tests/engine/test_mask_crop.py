"""Inpainting of the part around a mask, drawn in the picture's full size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine.pipeline_jobs import card_of, folder, job_of, reference, run
from tests.engine.resuming import wrong_steps
from tests.parameters import long_except

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.unsupported import UnsupportedByModel
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.registry import load

__all__ = ["folder"]
CROPPED = ("stable_diffusion", "stable_diffusion_xl", "stable_diffusion_3", "flux", "qwen_image")
CROPS: list[tuple[int | None, tuple[slice, slice]]] = [
    (0, (slice(3, 9), slice(20, 27))),
    (4, (slice(20, 30), slice(2, 5))),
    (8, (slice(0, 1), slice(0, 1))),
    (100, (slice(8, 24), slice(8, 24))),
    (None, (slice(8, 24), slice(8, 24))),
]
"""The padding and the white part, in rows and columns, of the masks of images in one batch."""


def cropped(card: ModelCard, number: int) -> JobRun:
    padding, white = CROPS[number]
    asked = {"prompt": "a cat", "seed": number, "steps": 3 + number % 2, "task": "inpainting", "strength": 1.0}
    job = job_of(card, str(number), asked | {"padding_mask_crop": padding})
    mask = job.rows[0].task.mask
    assert mask is not None
    mask[:] = 0
    mask[white] = 255
    return job


@pytest.mark.parametrize("family", long_except(CROPPED, "stable_diffusion", "stable_diffusion_3"))
def test_a_mixed_batch_of_cropped_masks_equals_the_pipeline_alone(family: str, folder: Path):
    card = card_of(family, folder)
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [cropped(card, number) for number in range(len(CROPS))]
    assert run(generator, jobs) == {}
    assert max(max(job.rows[0].task.buckets) for job in jobs) > 1, "no two shared a call"
    for job in jobs:
        found, task = job.rows[0].picture, job.rows[0].task
        assert found is not None
        assert np.abs(found - reference(card, job) * 255).max() <= 1, job.id
        if job.claim.spec.padding_mask_crop is not None:
            assert task.image is not None
            assert task.mask is not None
            kept = task.mask == 0
            assert np.array_equal(found[kept], task.image[kept]), "it changed what the mask keeps"
            assert not np.array_equal(found[~kept], task.image[~kept])


def test_a_cropped_picture_is_resumed_with_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch):
    card = card_of("stable_diffusion", folder)
    generator: Any = load(card, Settings(device="cpu"))

    def same(card: ModelCard, _name: str, _request: dict[str, Any]) -> JobRun:
        return cropped(card, 1)

    monkeypatch.setattr("tests.engine.resuming.job_of", same)
    assert list(wrong_steps(generator, card, {})) == []


def test_a_worker_reports_the_tasks_whose_pipeline_draws_the_whole_picture(folder: Path):
    generator: Any = load(card_of("stable_diffusion_3", folder), Settings(device="cpu"))
    found: UnsupportedByModel = generator.unsupported
    assert "padding_mask_crop" not in found.fields["inpainting"]
    assert "padding_mask_crop" in found.fields["image-to-image"]
