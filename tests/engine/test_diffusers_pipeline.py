"""A request in mixed batches of the engine gives the picture that diffusers' own pipeline gives."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import diffusers
import numpy as np
import pytest
import torch
from tests.engine import pipelines
from tests.engine.pipeline_jobs import FAMILIES, Collector, card_of, finish, folder, job_of, reference, run
from tests.parameters import long_except

from limner_shared.domain.catalogue import load_card
from limner_shared.settings import Settings
from limner_worker.engine.job_run import JobRun
from limner_worker.generators.diffusers import suspended_run
from limner_worker.generators.diffusers.calls import call_batching
from limner_worker.generators.diffusers.latent_preview import LatentPreview
from limner_worker.generators.registry import load
from limner_worker.generators.weight_files import sha256

__all__ = ["folder"]


def requests_of(family: str) -> list[dict[str, Any]]:
    about = FAMILIES[family]
    negative = {"negative_prompt": "blue"} if about.negative_prompts else {}
    rescale = {"guidance_rescale": 0.7} if family.startswith("stable_diffusion") and family[-1] != "3" else {}
    plain: list[dict[str, Any]] = [
        {"prompt": "a cat", "seed": 1, "steps": 3, "guidance": 7.5},
        {"prompt": "two red apples on a table", "seed": 2, "steps": 6, "guidance": 3.0} | negative,
        {"prompt": "dog", "seed": 3, "steps": 4, "guidance": 5.0, "width": 64, "height": 32},
        {"prompt": "a boat", "seed": 4, "steps": 5, "guidance": 1.0},
        {"prompt": "a tree", "seed": 5, "steps": 4, "guidance": 9.0} | negative | rescale,
        {"prompt": "a cat", "seed": 6, "steps": 2, "guidance": 4.0},
    ]
    named = [{"prompt": "a fish", "seed": 7, "steps": 4, "scheduler": name} for name in about.schedulers]
    tasks = [{"prompt": "a bird", "seed": 8, "steps": 5, "task": name} for name in about.tasks[1:]]
    # The constructor of the pipeline for inpainting corrects this scheduler.
    corrected = {"scheduler": "PNDMScheduler"} if "PNDMScheduler" in about.schedulers else {}
    return plain + named + [task | (corrected if task["task"] == "inpainting" else {}) for task in tasks]


@pytest.mark.parametrize("family", long_except(FAMILIES, "stable_diffusion", "flux"))
def test_a_mixed_batch_equals_the_pipeline_alone(family: Any, folder: Path):
    card = card_of(family, folder)
    generator = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(number), request) for number, request in enumerate(requests_of(family))]
    assert run(generator, jobs) == {}
    assert max(max(job.rows[0].task.buckets) for job in jobs) > 1, "no two shared a call"
    for job in jobs:
        expected = reference(card, job)
        found = job.rows[0].picture
        assert found is not None
        assert found.shape == (job.claim.spec.height, job.claim.spec.width, 3)
        assert np.abs(found - expected * 255).max() <= 1, job.claim.spec


def test_a_pipeline_without_a_known_denoiser_runs_image_by_image_and_reports_each_step(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(call_batching, "DENOISERS", ("unheard of",))
    card = card_of("stable_diffusion", folder)
    generator = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(seed), {"prompt": "a cat", "seed": seed, "steps": 4}) for seed in range(3)]
    done: list[int] = []

    def note(_: Collector, job: JobRun) -> None:
        done.append(job.rows[0].steps_done)

    monkeypatch.setattr(Collector, "progressed", note)
    assert run(generator, jobs[:2]) == {}
    assert sorted(set(done)) == [2, 3, 4]
    for job in jobs[:2]:
        assert np.abs(job.rows[0].picture - reference(card, job) * 255).max() <= 1


@pytest.fixture(scope="module")
def two_workers(folder: Path) -> tuple[Any, Any]:
    """The same model, loaded twice, as by two workers."""
    card = card_of("stable_diffusion", folder)
    return load(card, Settings(device="cpu")), load(card, Settings(device="cpu"))


@pytest.mark.parametrize("scheduler", FAMILIES["stable_diffusion"].schedulers)
def test_an_image_resumes_from_a_checkpoint_in_another_worker_to_the_same_bytes(
    folder: Path, two_workers: tuple[Any, Any], scheduler: Any
):
    card = card_of("stable_diffusion", folder)
    request = {"prompt": "a cat", "seed": 1, "steps": 6, "scheduler": scheduler}
    whole, first, second = (job_of(card, name, request).rows[0].task for name in ("whole", "first", "second"))
    one, other = two_workers
    [expected] = finish(one, one.start([whole]))
    [state] = one.start([first])
    while state.steps_done < 3:
        one.step([state])
    second.checkpoint = state.checkpoint()
    [resumed] = other.start([second])
    assert resumed.steps_done == state.steps_done
    [found] = finish(other, [resumed])
    assert np.array_equal(found, expected)
    assert len(second.buckets) < len(whole.buckets)


@pytest.mark.parametrize(
    ("family", "size"), [("stable_diffusion", (16, 32)), ("flux", (16, 32)), ("z_image", (16, 32))]
)
def test_a_preview_shows_each_cell_of_the_latents_as_a_colour(folder: Path, family: str, size: Any):
    card = card_of(family, folder)
    generator = load(card, Settings(device="cpu"))
    [state] = generator.start([job_of(card, "a", {"prompt": "a cat", "width": 64, "height": 32}).rows[0].task])
    assert generator.preview(state) is None
    generator.step([state])
    picture = generator.preview(state)
    assert picture.shape == (*size, 3)
    assert picture.std() > 0


class Mixing:
    """A VAE whose four latents are known mixtures of the colours of its cells, which are 8 pixels wide."""

    config = SimpleNamespace(scaling_factor=0.2, shift_factor=0.1, block_out_channels=(1, 1, 1, 1))
    device, dtype = torch.device("cpu"), torch.float32
    mixture = torch.tensor([[1.0, 2.0, 0.0, 1.0], [0.0, 1.0, 3.0, 1.0], [2.0, 0.0, 1.0, 1.0]])

    def encode(self, pixels: torch.Tensor) -> SimpleNamespace:
        cells = torch.nn.functional.avg_pool2d(pixels, 8)
        latents = torch.einsum("bchw,cd->bdhw", cells, self.mixture) + 0.5
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: latents))


@pytest.mark.parametrize("packed", [False, True])
def test_a_preview_has_the_colours_of_the_picture(packed: bool):
    vae = Mixing()
    colours = torch.rand(1, 3, 4, 6, generator=torch.Generator().manual_seed(1)) * 2 - 1
    pixels = torch.nn.functional.interpolate(colours, scale_factor=8.0, mode="nearest")
    latents = (vae.encode(pixels).latent_dist.mode() - vae.config.shift_factor) * vae.config.scaling_factor
    if packed:
        latents = cast("Any", diffusers.FluxPipeline)._pack_latents(latents, 1, 4, 4, 6)
    shown = cast("np.ndarray", LatentPreview(vae).picture(latents, width=48, height=32))
    expected = (colours[0].movedim(0, -1).numpy() + 1) * 127.5
    assert np.abs(shown - expected).max() <= 1


def test_nan_in_the_latents_fails_that_picture_alone(folder: Path):
    card = card_of("stable_diffusion", folder)
    generator = load(card, Settings(device="cpu"))
    jobs = [job_of(card, name, {"prompt": name, "seed": 1}) for name in ("good", "bad", "fine")]
    resume = suspended_run.SuspendedRun.resume

    def poisoned(self: Any, value: Any = None) -> None:
        if self.task.spec.prompt == "bad" and isinstance(value, tuple):
            value = tuple(item * float("nan") for item in cast("tuple[Any, ...]", value))
        resume(self, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suspended_run.SuspendedRun, "resume", poisoned)
        errors = run(generator, jobs)
    assert list(errors) == ["bad"]
    assert "finite" in errors["bad"].message


def test_a_lora_adapter_applies_only_to_jobs_that_request_it(folder: Path):
    plain_card = card_of("stable_diffusion", folder)
    pipelines.save_lora("stable_diffusion", folder)
    file = folder / "lora.toml"
    text = (folder / "stable_diffusion.toml").read_text()
    file.write_text(text + '[adapters]\nink = { folder = "lora" }\n')
    card = load_card(file)
    generator: Any = load(card, Settings(device="cpu"))
    assert generator.fingerprint()["adapters"] == {"ink": sha256(next((folder / "lora").glob("*.safetensors")))}
    request = {"prompt": "a cat", "seed": 1}
    asked = [request, request | {"adapters": [{"name": "ink", "weight": 0.8}]}, request]
    jobs = [job_of(card, str(number), one) for number, one in enumerate(asked)]
    assert run(generator, jobs) == {}
    plain, inked, again = (np.asarray(job.rows[0].picture, dtype=int) for job in jobs)
    assert np.array_equal(plain, again)
    assert np.abs(plain - reference(plain_card, jobs[0]) * 255).max() <= 1
    pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    pipe.load_lora_weights(str(folder / "lora"), adapter_name="ink")
    pipe.set_adapters(["ink"], [0.8])
    expected = pipe(
        "a cat", num_inference_steps=4, guidance_scale=7.5, width=32, height=32, output_type="np",
        generator=torch.Generator().manual_seed(1),
    ).images[0]  # fmt: skip
    assert np.abs(inked - plain).max() > 3
    assert np.abs(inked - expected * 255).max() <= 1


def test_jobs_with_different_adapters_change_them_every_few_steps(folder: Path, monkeypatch: pytest.MonkeyPatch):
    card_of("stable_diffusion", folder)
    pipelines.save_lora("stable_diffusion", folder)
    file = folder / "weights.toml"
    text = (folder / "stable_diffusion.toml").read_text()
    file.write_text(text + '[adapters]\nink = { folder = "lora" }\n')
    card = load_card(file)
    generator: Any = load(card, Settings(device="cpu"))
    changes: list[Any] = []
    use = generator.pipeline.set_adapters

    def counted(*given: Any) -> None:
        changes.append(given)
        use(*given)

    monkeypatch.setattr(generator.pipeline, "set_adapters", counted)
    monkeypatch.setattr("limner_worker.engine.model_sizes.KEPT_SECONDS", 1e6)  # the machine may be slow
    adapters = [[{"name": "ink", "weight": weight}] for weight in (0.5, 1.0)]
    jobs = [
        job_of(card, str(n), {"prompt": "a cat", "seed": 1, "steps": 40, "adapters": a}) for n, a in enumerate(adapters)
    ]
    assert run(generator, jobs) == {}
    assert len(changes) <= 2 * 40 / 8 + 6, "beside the steps, texts are encoded and pictures decoded"
