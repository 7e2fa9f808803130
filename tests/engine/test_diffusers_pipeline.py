"""A request in mixed batches of the engine gives the picture that diffusers' `pipe(…)` gives for it alone."""

from __future__ import annotations

import functools
import inspect
import shutil
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from tests.engine import pipelines

from limner_shared.db.ledger import Claim
from limner_shared.domain.cards import ModelCard, load_card
from limner_shared.domain.jobs import JobRequest, JobSpec, Lane
from limner_shared.errors import CardError, LimnerError
from limner_shared.settings import Settings
from limner_shared.threads import Supervisor
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators.diffusers import pipeline, suspended_run
from limner_worker.generators.diffusers.latent_preview import LatentPreview
from limner_worker.generators.model_cache import ModelCache
from limner_worker.generators.registry import load

SIGMAS = ["EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler"]
FEW_STEPS = ["LCMScheduler", "TCDScheduler", "SASolverScheduler"]
FLOWS = ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"]


@dataclass(frozen=True)
class Family:
    """The fields of a family's card beyond the common ones."""

    schedulers: list[str]
    tasks: list[str] = field(default_factory=lambda: ["text-to-image"])
    arguments: dict[str, Any] = field(default_factory=dict)


ALL_TASKS = ["text-to-image", "image-to-image", "inpainting"]
FAMILIES = {
    "stable_diffusion": Family([*SIGMAS, "PNDMScheduler", "EulerAncestralDiscreteScheduler", *FEW_STEPS], ALL_TASKS),
    "stable_diffusion_xl": Family(SIGMAS, ALL_TASKS),
    "stable_diffusion_3": Family(FLOWS, ALL_TASKS, {"max_sequence_length": 32}),
    "flux": Family([], ALL_TASKS, {"max_sequence_length": 32}),
    "pixart": Family(SIGMAS[:2], arguments={"use_resolution_binning": False, "max_sequence_length": 32}),
    "qwen_image": Family([], ALL_TASKS),
    "z_image": Family([], ["text-to-image", "image-to-image"]),
}
CARD = """
name = "tiny"
title = "Tiny"
family = "diffusers"
source = {{ folder = "{family}" }}
sizes = [[32, 32], [64, 32]]
steps = {{ min = 1, max = 50, default = 4 }}
guidance = {{ min = 0.0, max = 20.0, default = 7.5 }}
buckets = [1, 2, 4]
tasks = {tasks}
schedulers = {schedulers}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipelines")


def card_of(family: str, folder: Path) -> ModelCard:
    if not (folder / family).exists():
        pipelines.save(family, folder)
    about = FAMILIES[family]
    file = folder / f"{family}.toml"
    text = CARD.format(family=family, tasks=about.tasks, schedulers=about.schedulers)
    options = "".join(f"{name} = {str(value).lower()}\n" for name, value in about.arguments.items())
    file.write_text(text + (f"[options.arguments]\n{options}" if options else ""))
    return load_card(file)


class Collector:
    """Records every picture; submits the next jobs at each step, so that they join running batches."""

    def __init__(self, jobs: Sequence[JobRun]) -> None:
        self.later = list(jobs)
        self.left = len(self.later)
        self.engine: Engine | None = None
        self.shown: list[np.ndarray] = []
        self.errors: dict[str, LimnerError] = {}
        self.done = threading.Event()

    def progressed(self, job: JobRun) -> None:
        self.more()

    def more(self) -> None:
        some, self.later = self.later[:2], self.later[2:]
        if some and self.engine:
            self.engine.submit(some)

    def previewed(self, job: JobRun, picture: np.ndarray) -> None:
        self.shown.append(picture)

    def checkpointed(self, job: JobRun, index: int, checkpoint: bytes) -> None:
        return

    def generated(self, jobs: Sequence[JobRun]) -> None:
        self._ended(len(jobs))

    def failed(self, job: JobRun, error: LimnerError) -> None:
        self.errors[job.id] = error
        self._ended(1)

    def unavailable(self, jobs: Sequence[JobRun], reason: str) -> None:
        raise AssertionError(reason)

    def _ended(self, count: int) -> None:
        self.left -= count
        self.more()
        if not self.left:
            self.done.set()


def claimed(spec: JobSpec, name: str) -> JobRun:
    return JobRun(Claim(name, "tenant", None, 1, 2, Lane.NORMAL, spec), lambda: None)


def run(generator: Any, jobs: Sequence[JobRun], **options: Any) -> dict[str, LimnerError]:
    """Run all jobs in an engine, and return the errors of those that failed."""
    heard = Collector(jobs)
    heard.engine = Engine(ModelCache([generator.card], lambda _card: generator), heard, Supervisor(), **options)
    heard.engine.start()
    heard.more()
    assert heard.done.wait(120)
    heard.engine.stop()
    return heard.errors


def pictures() -> tuple[np.ndarray, np.ndarray]:
    """Return an input image and a mask."""
    noise = np.random.default_rng(0)
    mask = np.zeros((32, 32, 3), np.uint8)
    mask[:, 16:] = 255
    return noise.integers(0, 255, (32, 32, 3), np.uint8), mask


def job_of(card: ModelCard, name: str, request: dict[str, Any]) -> JobRun:
    asked = {key: value for key, value in request.items() if key != "task"}
    spec = card.resolve(JobRequest(**asked))
    image, mask = pictures()
    task = request.get("task", "text-to-image")
    if task != "text-to-image":
        more = {"image": "0" * 64, "strength": 0.6} | ({"mask": "1" * 64} if task == "inpainting" else {})
        spec = spec.model_copy(update=more)
    job = claimed(spec, name)
    if task != "text-to-image":
        job.rows[0].task.image = image
        job.rows[0].task.mask = mask if task == "inpainting" else None
    return job


def seed_steps(scheduler: Any, generator: torch.Generator) -> None:
    """Let a scheduler draw noise with the request's seed also where its pipeline does not give it a generator."""
    step: Any = scheduler.step
    if "generator" in inspect.signature(step).parameters:

        @functools.wraps(step)
        def seeded(*args: Any, **kwargs: Any) -> Any:
            return step(*args, **{"generator": generator, **kwargs})

        scheduler.step = seeded


def choose_scheduler(pipe: Any, name: str) -> None:
    """Set the scheduler of a pipeline and of the pipelines within it."""
    before, chosen = pipe.scheduler, getattr(diffusers, name).from_config(pipe.scheduler.config)
    for part in (pipe, *(part for part in vars(pipe).values() if isinstance(part, diffusers.DiffusionPipeline))):
        if part.scheduler is before:
            part.scheduler = chosen


def reference(card: ModelCard, job: JobRun) -> np.ndarray:
    """Return the picture that diffusers draws for the request alone, called as its documentation says."""
    spec, task = job.claim.spec, job.rows[0].task
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(str(card.source.folder), dtype=getattr(torch, card.dtype))
    if spec.scheduler:
        choose_scheduler(pipe, spec.scheduler)
    with suppress(ValueError):  # diffusers names no other class for the task: this one does it
        if spec.task == "image-to-image":
            pipe = diffusers.AutoPipelineForImage2Image.from_pipe(pipe)
        if spec.task == "inpainting":
            pipe = diffusers.AutoPipelineForInpainting.from_pipe(pipe)
    pipe.set_progress_bar_config(disable=True)
    more: dict[str, Any] = dict(card.options.get("arguments", {}))
    if task.image is not None:
        more |= {"image": Image.fromarray(task.image), "strength": spec.strength}
    if task.mask is not None:
        more["mask_image"] = Image.fromarray(task.mask)
    if spec.negative_prompt:
        more["negative_prompt"] = spec.negative_prompt
    if spec.guidance_rescale:
        more["guidance_rescale"] = spec.guidance_rescale
    more["true_cfg_scale" if card.source.folder.name == "qwen_image" else "guidance_scale"] = spec.guidance
    more |= {"width": spec.width, "height": spec.height, "num_inference_steps": spec.steps, "output_type": "np"}
    takes = inspect.signature(pipe.__call__).parameters
    more["guidance_schedule"] = None
    generator = torch.Generator().manual_seed(spec.seed)
    seed_steps(pipe.scheduler, generator)
    output = pipe(
        prompt=spec.prompt, generator=generator, **{name: value for name, value in more.items() if name in takes}
    )
    return next(iter(output.values()))[0]


def requests_of(family: str) -> list[dict[str, Any]]:
    about = FAMILIES[family]
    negative = {} if family == "flux" else {"negative_prompt": "blue"}
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
    return plain + named + tasks


@pytest.mark.parametrize("family", FAMILIES)
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
    monkeypatch.setattr(pipeline, "DENOISERS", ("unheard of",))
    card = card_of("stable_diffusion", folder)
    generator = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(seed), {"prompt": "a cat", "seed": seed, "steps": 4}) for seed in range(3)]
    done: list[int] = []
    monkeypatch.setattr(Collector, "progressed", lambda _self, job: done.append(job.rows[0].steps_done))
    assert run(generator, jobs[:2]) == {}
    assert sorted(set(done)) == [2, 3, 4]
    for job in jobs[:2]:
        assert np.abs(job.rows[0].picture - reference(card, job) * 255).max() <= 1


def test_a_card_with_a_missing_folder_is_refused_with_its_name(tmp_path: Path):
    file = tmp_path / "gone.toml"
    file.write_text(CARD.format(family="nowhere", tasks=["text-to-image"], schedulers=[]))
    with pytest.raises(CardError, match="nowhere"):
        load(load_card(file), Settings(device="cpu"))


@pytest.mark.parametrize("scheduler", FAMILIES["stable_diffusion"].schedulers)
def test_an_image_resumes_from_a_checkpoint_in_another_process_to_the_same_bytes(folder: Path, scheduler: Any):
    card = card_of("stable_diffusion", folder)
    request = {"prompt": "a cat", "seed": 1, "steps": 6, "scheduler": scheduler}
    whole, first, second = (job_of(card, name, request).rows[0].task for name in ("whole", "first", "second"))
    one, other = load(card, Settings(device="cpu")), load(card, Settings(device="cpu"))
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


def finish(generator: Any, states: Sequence[Any]) -> list[np.ndarray]:
    while active := [state for state in states if not state.finished]:
        generator.step(active)
    return generator.decode(states).pictures()


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
        latents = diffusers.FluxPipeline._pack_latents(latents, 1, 4, 4, 6)
    shown = LatentPreview(vae).picture(latents, width=48, height=32)
    expected = (colours[0].movedim(0, -1).numpy() + 1) * 127.5
    assert np.abs(shown - expected).max() <= 1


def test_nan_in_the_latents_fails_that_picture_alone(folder: Path):
    card = card_of("stable_diffusion", folder)
    generator = load(card, Settings(device="cpu"))
    jobs = [job_of(card, name, {"prompt": name, "seed": 1}) for name in ("good", "bad", "fine")]
    resume = suspended_run.SuspendedRun.resume

    def poisoned(self: Any, value: Any = None) -> None:
        if self.task.spec.prompt == "bad" and isinstance(value, tuple):
            value = tuple(item * float("nan") for item in value)
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
    generator = load(card, Settings(device="cpu"))
    request = {"prompt": "a cat", "seed": 1}
    asked = [request, request | {"adapters": [{"name": "ink", "weight": 0.8}]}, request]
    jobs = [job_of(card, str(number), one) for number, one in enumerate(asked)]
    assert run(generator, jobs) == {}
    plain, inked, again = (job.rows[0].picture.astype(int) for job in jobs)  # type: ignore[union-attr]
    assert np.array_equal(plain, again)
    assert np.abs(plain - reference(plain_card, jobs[0]) * 255).max() <= 1
    pipe: Any = diffusers.DiffusionPipeline.from_pretrained(str(card.source.folder))
    pipe.load_lora_weights(str(folder / "lora"), adapter_name="ink")
    pipe.set_adapters(["ink"], [0.8])
    expected = pipe(
        "a cat", num_inference_steps=4, guidance_scale=7.5, width=32, height=32, output_type="np",
        generator=torch.Generator().manual_seed(1),
    ).images[0]  # fmt: skip
    assert np.abs(inked - plain).max() > 3
    assert np.abs(inked - expected * 255).max() <= 1


def test_a_scheduler_that_does_not_fit_is_refused_with_those_that_do(folder: Path):
    card = card_of("stable_diffusion", folder).model_copy(update={"schedulers": ("NoSuchScheduler",)})
    with pytest.raises(CardError, match=r"NoSuchScheduler.*DDIMScheduler"):
        load(card, Settings(device="cpu"))


def test_pickled_weights_are_never_read(folder: Path, tmp_path: Path):
    card = card_of("stable_diffusion", folder)
    copy = tmp_path / "pickled"
    shutil.copytree(folder / "stable_diffusion", copy)
    for weights in copy.rglob("*.safetensors"):
        torch.save({}, weights.with_suffix(".bin"))
        weights.unlink()
    with pytest.raises(CardError, match="does not load"):
        load(
            card.model_copy(update={"source": card.source.model_copy(update={"folder": copy})}), Settings(device="cpu")
        )


def test_a_weights_file_with_another_hash_than_the_card_expects_is_refused(folder: Path):
    card = card_of("stable_diffusion", folder)
    name = "unet/diffusion_pytorch_model.safetensors"
    with pytest.raises(CardError, match=f"{name} has [0-9a-f]{{64}}, but the card expects 00"):
        load(card.model_copy(update={"sha256": {name: "00"}}), Settings(device="cpu"))


def test_a_damaged_weights_file_is_refused_with_the_models_name(folder: Path, tmp_path: Path):
    card = card_of("stable_diffusion", folder)
    copy = tmp_path / "damaged"
    shutil.copytree(folder / "stable_diffusion", copy)
    weights = copy / "unet/diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(CardError, match=r"tiny: .* does not load"):
        load(
            card.model_copy(update={"source": card.source.model_copy(update={"folder": copy})}), Settings(device="cpu")
        )


def elsewhere(card: ModelCard, folder: Path) -> ModelCard:
    return card.model_copy(update={"source": card.source.model_copy(update={"folder": folder})})


@pytest.mark.parametrize("family", ["stable_diffusion_xl", "stable_diffusion_3", "z_image"])
def test_embeddings_of_another_worker_come_from_redis_and_give_the_same_bytes(
    folder: Path, family: str, redis_url: str
):
    card = card_of(family, folder)
    settings = Settings(device="cpu", encoder_cache_url=redis_url)
    one, other = load(card, settings), load(card, settings)
    first, second = (job_of(card, "a", {"prompt": "a cat", "seed": 1}).rows[0].task for _ in "12")
    [expected] = finish(one, one.start([first]))
    longer = {"prompt": "a dog in a garden with a fence", "negative_prompt": "a bird"}
    other.start([job_of(card, "b", longer).rows[0].task])
    calls = count_texts(other)
    [found] = finish(other, other.start([second]))
    assert calls == []
    assert np.array_equal(found, expected)


def count_texts(generator: Any) -> list[str]:
    """Record the names of the text encoders that are called from now on."""
    called: list[str] = []
    for name, function in list(generator._functions.items()):
        if name.startswith("text_encoder"):

            def counted(*args: Any, _name: str = name, _function: Any = function, **kwargs: Any) -> Any:
                called.append(_name)
                return _function(*args, **kwargs)

            generator._functions[name] = counted
    return called
