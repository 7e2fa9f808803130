"""In half precision, mixed batches give the pictures of `pipe()` alone: equal in bfloat16, within 1/255 in float16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pytest
from tests.engine import odd_pipelines, pipelines, tiny_builders, tiny_pipelines_2
from tests.engine.pipeline_jobs import job_of, reference, run

from limner_shared.settings import Settings
from limner_worker.generators.registry import load

REQUESTS: Final[list[dict[str, Any]]] = [
    {"prompt": "a cat", "steps": 2, "seed": 0},
    {"prompt": "a dog", "steps": 3, "seed": 1, "guidance": 2.5},
    {"prompt": "a hen", "steps": 4, "seed": 2},
]
BOUNDS: Final[dict[Literal["bfloat16", "float16"], int]] = {"bfloat16": 0, "float16": 1}
"""The largest difference in 1/255. The CPU sums the rows of a batch in float16 in another order than a single row."""
LONG: Final = pytest.mark.long
pytestmark = pytest.mark.filterwarnings("ignore:`upcast_vae` is deprecated:FutureWarning")


@pytest.mark.parametrize("dtype", BOUNDS)
@pytest.mark.parametrize(
    "build",
    [
        pipelines.stable_diffusion_xl,
        pipelines.flux,
        pytest.param(pipelines.stable_diffusion, marks=LONG),
        pytest.param(pipelines.stable_diffusion_3, marks=LONG),
        pytest.param(tiny_pipelines_2.sana, marks=LONG),
    ],
)
def test_a_mixed_batch_in_half_precision_gives_the_pictures_of_the_pipeline_alone(
    tmp_path: Path, build: Callable[[Path], Any], dtype: Literal["bfloat16", "float16"]
) -> None:
    options = {"arguments": tiny_builders.ARGUMENTS.get(build.__name__, {})}
    card = odd_pipelines.saved(build, tmp_path, options=options, dtype=dtype)
    generator: Any = load(card, Settings(device="cpu", cache_dir=tmp_path / "cache"))
    assert generator.unbatched_calls == set()
    jobs = [job_of(card, str(number), request) for number, request in enumerate(REQUESTS)]
    assert run(generator, jobs) == {}
    assert max(size for job in jobs for size in job.rows[0].task.buckets) > 1, "no two images shared a call"
    for job in jobs:
        expected = (np.clip(reference(card, job), 0, 1) * 255).round()
        found: Any = job.rows[0].picture
        assert np.abs(found - expected).max() <= BOUNDS[dtype], job.claim.spec


@pytest.mark.parametrize("dtype", BOUNDS)
def test_an_image_alone_has_the_bytes_of_the_pipeline_in_half_precision(
    tmp_path: Path, dtype: Literal["bfloat16", "float16"]
) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion_xl, tmp_path, dtype=dtype)
    generator: Any = load(card, Settings(device="cpu", cache_dir=tmp_path / "cache"))
    job = job_of(card, "a", REQUESTS[1])
    assert run(generator, [job]) == {}
    picture: Any = job.rows[0].picture
    assert np.array_equal(picture, (np.clip(reference(card, job), 0, 1) * 255).round())
