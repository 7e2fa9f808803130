"""Pipelines with a safety checker of their own, which draws a black picture in place of one that it flags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tests.counters import counted
from tests.engine import odd_pipelines, pipelines, tiny_pipelines_4
from tests.engine.pipeline_jobs import job_of, run

from limner_shared.errors import CardError, ModerationBlocked
from limner_shared.settings import Settings
from limner_worker.generators.registry import load

REQUESTS: list[dict[str, Any]] = [{"prompt": "a cat", "seed": 1}, {"prompt": "a dog", "seed": 2}]


def judged(folder: Path) -> Any:
    """A pipeline whose checker flags every picture."""
    pipeline, parts = pipelines.stable_diffusion(folder), tiny_pipelines_4.safety_checker()
    parts["safety_checker"].concept_embeds_weights.data.fill_(-2)
    return type(pipeline)(**pipeline.components | parts)


def blocked() -> float:
    return counted("limner_moderated_total", what="picture", result="blocked")


def test_a_picture_that_the_pipeline_itself_flags_is_blocked_by_moderation(tmp_path: Path) -> None:
    card = odd_pipelines.saved(judged, tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(number), request) for number, request in enumerate(REQUESTS)]
    before = blocked()
    errors = run(generator, jobs)
    assert {name: type(error) for name, error in errors.items()} == {"0": ModerationBlocked, "1": ModerationBlocked}
    assert "own safety checker" in errors["0"].message
    assert blocked() == before + 2


def test_the_other_pictures_of_the_batch_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = odd_pipelines.saved(judged, tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    flags = iter([True, False])

    def forward(_: Any, clip_input: Any, images: Any) -> Any:
        return images, [next(flags)]

    monkeypatch.setattr(StableDiffusionSafetyChecker, "forward", forward)
    jobs = [job_of(card, str(number), request) for number, request in enumerate(REQUESTS)]
    errors = run(generator, jobs)
    assert [type(error) for error in errors.values()] == [ModerationBlocked]
    assert sum(job.rows[0].picture is not None for job in jobs) == 1


def test_a_card_may_leave_the_checker_out(tmp_path: Path) -> None:
    card = odd_pipelines.saved(judged, tmp_path, safety_checker=False)
    generator: Any = load(card, Settings(device="cpu"))
    job = job_of(card, "a cat", REQUESTS[0])
    assert generator.pipeline.safety_checker is None
    assert run(generator, [job]) == {}


def test_a_card_that_leaves_out_a_checker_which_is_not_there_is_refused(tmp_path: Path) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion_xl, tmp_path, safety_checker=False)
    with pytest.raises(CardError, match="StableDiffusionXLPipeline has no safety checker: remove safety_checker"):
        load(card, Settings(device="cpu"))
