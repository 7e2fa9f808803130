"""Pictures that are larger than those a VAE was trained with, decoded in tiles where the card says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import odd_pipelines, pipelines
from tests.engine.pipeline_jobs import job_of, reference, run

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.registry import load

WIDE = {"prompt": "a cat", "steps": 3, "width": 64, "height": 32}
REQUESTS: list[dict[str, Any]] = [WIDE | {"seed": 1}, WIDE | {"seed": 2}, {"prompt": "a dog", "seed": 3, "steps": 3}]


def picture_of(job: JobRun) -> np.ndarray:
    picture = job.rows[0].picture
    assert picture is not None
    return picture


def drawn(card: ModelCard) -> tuple[Any, list[JobRun]]:
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(number), request) for number, request in enumerate(REQUESTS)]
    assert run(generator, jobs) == {}
    return generator, jobs


def test_pictures_in_tiles_equal_the_pipeline_alone_and_smaller_ones_are_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path, sizes=[(32, 32), (64, 32)])
    plain, whole = drawn(card)
    tiling, tiled = drawn(card.model_copy(update={"vae_tiling": True}))
    assert (plain.fingerprint().get("vae_tiling"), tiling.fingerprint()["vae_tiling"]) == (None, True)
    for large, job in zip(whole[:2], tiled[:2], strict=True):
        assert not np.array_equal(picture_of(large), picture_of(job)), "it was not decoded in tiles"
    assert np.array_equal(picture_of(whole[2]), picture_of(tiled[2]))

    def tile(pipe: Any, **options: Any) -> None:
        pipe.vae.enable_tiling()

    # The reference sets this on the pipeline that it calls.
    monkeypatch.setattr("diffusers.StableDiffusionPipeline.set_progress_bar_config", tile)
    for job in tiled:
        assert np.abs(picture_of(job) - reference(card, job) * 255).max() <= 1, job.id


def test_a_pipeline_without_a_vae_that_works_in_tiles_is_refused(tmp_path: Path):
    card = odd_pipelines.saved(odd_pipelines.kandinsky_22, tmp_path, vae_tiling=True)
    with pytest.raises(CardError, match="KandinskyV22CombinedPipeline has no VAE that works in tiles: remove vae_til"):
        load(card, Settings(device="cpu"))
