"""Only arguments that a module processes row by row are joined; others must be equal, or the call is separate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.engine import odd_pipelines, pipelines, tiny_pipelines, tiny_pipelines_2
from tests.engine.pipeline_jobs import job_of, reference, run
from transformers.modeling_outputs import BaseModelOutput

from limner_shared.settings import Settings
from limner_worker.generators.diffusers.suspended_run import SuspendedRun
from limner_worker.generators.registry import load


def test_wide_and_tall_pictures_of_equal_token_count_keep_their_positions(tmp_path: Path) -> None:
    arguments = {"arguments": {"max_sequence_length": 64, "text_encoder_out_layers": [1]}}
    sizes = [(64, 32), (32, 64)]
    card = odd_pipelines.saved(odd_pipelines.flux_2, tmp_path, sizes=sizes, options=arguments)
    generator = load(card, Settings(device="cpu"))
    shapes = [{"width": width, "height": height} for width, height in sizes * 2]
    jobs = [job_of(card, str(n), {"prompt": "a cat", "seed": n, "steps": 3} | shape) for n, shape in enumerate(shapes)]
    assert run(generator, jobs) == {}
    assert max(max(job.rows[0].task.buckets) for job in jobs) > 1, "no two shared a call"
    for job in jobs:
        assert np.abs(job.rows[0].picture - reference(card, job) * 255).max() <= 1, job.claim.spec


@pytest.mark.long
def test_texts_whose_layers_are_stacked_before_their_rows_are_joined(tmp_path: Path) -> None:
    options = {"arguments": tiny_pipelines.ARGUMENTS["hidream"]}
    sizes = tiny_pipelines_2.SIZES["hidream"]
    card = odd_pipelines.saved(tiny_pipelines.hidream, tmp_path, sizes=sizes, options=options, negative_prompts=True)
    generator = load(card, Settings(device="cpu"))
    asked: list[dict[str, Any]] = [{}, {"guidance": 2.0}, {"negative_prompt": "blue"}, {"width": 64, "height": 16}]
    jobs = [
        job_of(card, prompt, {"prompt": prompt, "seed": seed, "steps": 2 + seed % 2} | more)
        for seed, (prompt, more) in enumerate(zip(("a cat", "two dogs", "a boat", "a hen"), asked, strict=True))
    ]
    assert run(generator, jobs) == {}
    assert [max(job.rows[0].task.buckets) > 1 for job in jobs] == [True, True, True, False]
    for job in jobs:
        assert np.abs(job.rows[0].picture - reference(card, job) * 255).max() <= 1, job.claim.spec


def turned(output: Any) -> Any:
    return BaseModelOutput(last_hidden_state=output[0].transpose(0, 1))


def test_a_text_encoder_whose_rows_are_not_its_first_dimension_is_called_for_one_text_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    encode = generator._functions["text_encoder.forward"]

    def encode_turned(**given: Any) -> Any:
        return turned(encode(**given))

    generator._functions["text_encoder.forward"] = encode_turned
    resume = SuspendedRun.resume

    def turned_back(self: SuspendedRun, value: Any = None) -> None:
        resume(self, turned(value) if isinstance(value, BaseModelOutput) else value)

    monkeypatch.setattr(SuspendedRun, "resume", turned_back)
    jobs = [job_of(card, prompt, {"prompt": prompt, "seed": 1}) for prompt in ("a cat", "two dogs", "a boat")]
    assert run(generator, jobs) == {}
    for job in jobs:
        assert np.abs(job.rows[0].picture - reference(card, job) * 255).max() <= 1, job.claim.spec
