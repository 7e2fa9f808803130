"""Reference pictures by an IP-Adapter: each image has its own, and how much of it is taken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from tests.engine import odd_pipelines, pipelines
from tests.engine.pipeline_jobs import claimed, pictures, run
from tests.engine.resuming import wrong_steps
from tests.engine.tiny_references import save_ip_adapter

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.registry import load

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of diffusers about itself
BUILD = {"sd": pipelines.stable_diffusion, "sdxl": pipelines.stable_diffusion_xl, "flux": pipelines.flux}
OF_FLUX = {"max_sequence_length": 32}
TWO = {"reference_images": ("0", "1")}
REQUESTS: list[dict[str, Any]] = [
    {"prompt": "a cat", "seed": 1, "steps": 3, "reference_images": ("0",)},
    {"prompt": "two red apples on a table", "seed": 2, "steps": 4, "reference_images": ("0",)},
    {"prompt": "dog", "seed": 3, "steps": 4, "reference_images": ("0",), "reference_scale": 1.0},
    {"prompt": "a boat", "seed": 4, "steps": 4, "guidance": 1.0, **TWO},
    {"prompt": "a tree", "seed": 5, "steps": 3},
]


def card_of(kind: str, folder: Path, **more: Any) -> ModelCard:
    """A card of a tiny pipeline that takes up to two references."""
    card = odd_pipelines.saved(BUILD[kind], folder)
    if not (adapter := folder / "adapter").exists():
        pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
        save_ip_adapter(pipe.transformer if kind == "flux" else pipe.unet, adapter)
    if kind == "flux":
        more = {"options": {"arguments": OF_FLUX}} | more
    reference = {"adapter": Source(folder=adapter), "most": 2}
    return odd_pipelines.card(card.source.folder or folder, **{"reference": reference} | more)


def job_of(card: ModelCard, name: str, request: dict[str, Any]) -> JobRun:
    job = claimed(card.resolve(JobRequest(**request)), name)
    spec, (picture, _) = job.claim.spec, pictures(32, 64)
    given = enumerate(spec.reference_images)
    job.rows[0].task.reference_images = tuple(np.roll(picture, spec.seed + 7 * number, 1) for number, _ in given)
    return job


def alone(card: ModelCard, jobs: Sequence[JobRun]) -> list[np.ndarray]:
    """What diffusers draws for each job, called as its documentation says."""
    assert card.reference is not None
    pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    plain: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    folder = str(card.reference.adapter.folder)
    encoder: dict[str, Any] = {"image_encoder_pretrained_model_name_or_path": f"{folder}/image_encoder"}
    more = OF_FLUX if type(pipe).__name__ == "FluxPipeline" else {}
    own_way = encoder | {"image_encoder_dtype": torch.float32} if more else {}
    pipe.load_ip_adapter(folder, subfolder="", weight_name="ip_adapter.safetensors", **own_way)
    drawn: list[np.ndarray] = []
    for job in jobs:
        spec, task = job.claim.spec, job.rows[0].task
        given: dict[str, Any] = {"ip_adapter_image": [[Image.fromarray(each) for each in task.reference_images]]}
        pipe.set_ip_adapter_scale(spec.reference_scale)
        own = pipe if task.reference_images else plain  # without references it draws as without the adapter
        own.set_progress_bar_config(disable=True)
        output = own(
            spec.prompt, width=spec.width, height=spec.height, num_inference_steps=spec.steps, output_type="np",
            guidance_scale=spec.guidance, generator=torch.Generator().manual_seed(spec.seed), **more,
            **(given if task.reference_images else {}),
        )  # fmt: skip
        drawn.append(output.images[0])
    return drawn


@pytest.mark.parametrize("kind", BUILD)
def test_a_mixed_batch_equals_the_pipeline_alone(kind: str, tmp_path: Path):
    card = card_of(kind, tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(number), request) for number, request in enumerate(REQUESTS)]
    assert run(generator, jobs) == {}
    assert generator.unbatched_calls == set()
    assert max(max(job.rows[0].task.buckets) for job in jobs[:2]) > 1, "no two shared a call"
    for job, expected in zip(jobs, alone(card, jobs), strict=True):
        found = job.rows[0].picture
        assert found is not None
        assert np.abs(found - expected * 255).max() <= 1, job.id
    assert set(generator.fingerprint()["reference"]) == {"ip_adapter.safetensors", "image_encoder/model.safetensors"}


def test_equal_references_are_encoded_once_and_so_is_their_absence(tmp_path: Path):
    card = card_of("sd", tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    encoded: list[Any] = []

    def note(*_: object) -> None:
        encoded.append(None)

    generator.pipeline.image_encoder.register_forward_hook(note)
    for prompts in (("a cat", "a dog"), ("a boat", "a tree")):
        given: list[tuple[str, Any]] = [(prompt, more) for prompt in prompts for more in (TWO, {})]
        jobs = [job_of(card, f"{prompt} {len(more)}", {"prompt": prompt, "seed": 1, **more}) for prompt, more in given]
        assert run(generator, jobs) == {}
        assert len(encoded) <= 2
    assert encoded, "references are no longer encoded by this module"


def test_a_picture_with_references_is_resumed_with_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    card = card_of("sd", tmp_path)
    generator: Any = load(card, Settings(device="cpu"))
    monkeypatch.setattr("tests.engine.resuming.job_of", job_of)
    assert list(wrong_steps(generator, card, {"prompt": "a cat", "seed": 1, "steps": 4, **TWO})) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"offload": "model"}, "remove offload"),
        ({"reference": {"adapter": Source(folder=Path("nowhere"))}}, "nowhere does not exist"),
    ],
)
def test_an_adapter_that_cannot_be_used_is_refused_with_the_card(tmp_path: Path, change: dict[str, Any], reason: str):
    with pytest.raises(CardError, match=reason):
        load(card_of("sd", tmp_path, **change), Settings(device="cpu"))


def test_a_pipeline_without_references_and_weights_of_another_model_are_refused(tmp_path: Path):
    card = card_of("sd", tmp_path)
    other = odd_pipelines.saved(pipelines.z_image, tmp_path).model_copy(update={"reference": card.reference})
    with pytest.raises(CardError, match="ZImagePipeline takes no IP-Adapter: remove reference from the card"):
        load(other, Settings(device="cpu"))
    base = odd_pipelines.saved(pipelines.stable_diffusion_xl, tmp_path)
    with pytest.raises(CardError, match="stable_diffusion_xl does not load: "):
        load(base.model_copy(update={"reference": card.reference}), Settings(device="cpu"))
