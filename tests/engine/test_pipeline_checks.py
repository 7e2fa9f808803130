"""A card whose requests would fail or give wrong results is refused at load with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, cast

import diffusers
import numpy as np
import pytest
import torch
from tests.engine import odd_pipelines, pipelines, tiny_variants
from tests.engine.pipeline_jobs import job_of, run

from limner_shared.domain.card_fields import Range
from limner_shared.errors import CardError, RequestUnsupported
from limner_shared.settings import Settings
from limner_worker.generators.base import Picture
from limner_worker.generators.diffusers.pipeline_checks import check, explain, refused_steps
from limner_worker.generators.registry import load


def refusal(card: Any) -> str:
    with pytest.raises(CardError) as refused:
        load(card, Settings(device="cpu"))
    return refused.value.message


def test_a_size_that_the_pipeline_would_round_is_refused(tmp_path: Path) -> None:
    card = odd_pipelines.saved(pipelines.flux, tmp_path, sizes=[(32, 32), (40, 32)])
    pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    pipe.register_modules(vae=pipelines.vae(widths=(4, 4, 4, 4), shift_factor=0.06))
    pipe.save_pretrained(tmp_path / "coarse")
    card = odd_pipelines.card(tmp_path / "coarse", sizes=[(32, 32), (40, 32)])
    assert "40x32: this pipeline draws multiples of 16 pixels only" in refusal(card)


def test_a_scheduler_that_needs_a_missing_package_is_refused(tmp_path: Path) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path, schedulers=["DPMSolverSDEScheduler"])
    assert "DPMSolverSDEScheduler needs a package: " in refusal(card)
    assert "torchsde" in refusal(card)


def test_steps_that_the_pipelines_own_scheduler_refuses_are_refused(tmp_path: Path) -> None:
    pipeline = pipelines.stable_diffusion(tmp_path / "tokenizers")
    pipeline.scheduler = diffusers.LCMScheduler(steps_offset=1)
    pipeline.save_pretrained(tmp_path / "lcm", safe_serialization=True)
    card = odd_pipelines.card(tmp_path / "lcm", steps={"min": 1, "max": 60, "default": 4})
    assert "LCMScheduler refuses 60 steps" in refusal(card)


def test_steps_that_only_a_requests_scheduler_refuses_fail_the_request_with_the_reason(tmp_path: Path) -> None:
    steps = {"min": 1, "max": 60, "default": 4}
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path, schedulers=["LCMScheduler"], steps=steps)
    requests = {"many": {"steps": 60, "scheduler": "LCMScheduler"}, "few": {"steps": 2, "scheduler": "LCMScheduler"}}
    jobs = [job_of(card, name, {"prompt": "a cat"} | request) for name, request in requests.items()]
    errors = run(load(card, Settings(device="cpu")), jobs)
    assert list(errors) == ["many"]
    assert isinstance(errors["many"], RequestUnsupported)
    assert "the scheduler LCMScheduler does not take 60 steps" in errors["many"].message


class Plain:
    """The parts of a pipeline that are looked at before anything is drawn."""

    components: ClassVar[dict[str, Any]] = {}

    def __init__(self, scheduler: Any = None) -> None:
        self.scheduler = scheduler or diffusers.DDIMScheduler()

    def __call__(self, prompt: str) -> None: ...


class Gligen(Plain):
    """A pipeline that draws nothing without an input that requests cannot give."""

    def __call__(self, prompt: str, gligen_boxes: Any = None) -> None: ...


class Paradigms(Plain):
    """A pipeline that makes several steps at once."""

    def __call__(self, prompt: str, parallel: int = 10) -> None: ...


class Prior(Plain):
    """A stage of a pipeline, without a scheduler."""

    def __init__(self) -> None:
        self.scheduler = None


@pytest.mark.parametrize(
    ("pipeline", "reason"),
    [
        (Prior(), "it has no scheduler, or several"),
        (
            Gligen(),
            "puts phrases into boxes, which requests cannot give: load .* or give gligen_phrases and gligen_boxes",
        ),
        (
            Paradigms(),
            "makes several steps of a picture at once, which its scheduler cannot: name DDIMParallelScheduler",
        ),
    ],
)
def test_a_pipeline_that_cannot_draw_from_a_request_is_refused_with_what_to_do(pipeline: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        check(pipeline, odd_pipelines.card(Path("nowhere")))


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (KeyError("layers"), "KeyError: 'layers'"),
        (AssertionError(), "AssertionError"),
        (ValueError("no layers"), "no layers"),
    ],
)
def test_an_error_without_a_reason_is_named(error: Exception, reason: str) -> None:
    assert explain(error) == reason


def test_a_card_with_styles_that_its_pipeline_would_ignore_is_refused() -> None:
    styles = odd_pipelines.card(Path("nowhere"), styles=["ink", "oil"], styles_by_seed=["ink"])
    with pytest.raises(ValueError, match="pipelines of diffusers have no styles, styles_by_seed: leave them out"):
        check(Gligen(), styles)


def test_what_a_card_gives_for_all_requests_is_not_missed() -> None:
    check(
        Gligen(), odd_pipelines.card(Path("nowhere"), options={"arguments": {"gligen_boxes": [[0.0, 0.0, 1.0, 1.0]]}})
    )


def test_the_only_number_of_steps_that_a_scheduler_takes_is_named() -> None:
    pipeline = Plain(diffusers.SCMScheduler())
    with pytest.raises(ValueError, match="SCMScheduler takes 2 steps only: set min, max and default of steps to 2"):
        check(pipeline, odd_pipelines.card(Path("nowhere")))
    two = {"min": 2, "max": 2, "default": 2}
    check(pipeline, odd_pipelines.card(Path("nowhere"), steps=two))


def test_the_least_number_of_steps_that_a_scheduler_takes_is_named() -> None:
    pipeline = Plain(diffusers.UnCLIPScheduler())
    with pytest.raises(ValueError, match="UnCLIPScheduler takes 2 steps or more: set min of steps to 2"):
        check(pipeline, odd_pipelines.card(Path("nowhere")))
    check(pipeline, odd_pipelines.card(Path("nowhere"), steps={"min": 2, "max": 9, "default": 3}))


def test_a_pipeline_that_copies_its_scheduler_is_refused_with_what_to_do(tmp_path: Path) -> None:
    panorama = tiny_variants.BUILDERS["StableDiffusionPanoramaPipeline"]
    assert "copies its scheduler for parts of a picture" in refusal(odd_pipelines.saved(panorama, tmp_path))


class UnseededScheduler(diffusers.DDIMScheduler):
    """Draws noise from torch's global generator."""

    def step(self, model_output: Any, timestep: Any, sample: Any, *_: Any, **__: Any) -> Any:
        return (sample + torch.randn(sample.shape),)


def test_a_scheduler_whose_noise_the_seed_does_not_determine_is_refused(tmp_path: Path) -> None:
    pipeline = Plain(UnseededScheduler())
    with pytest.raises(ValueError, match="UnseededScheduler draws noise that the seed does not determine"):
        check(pipeline, odd_pipelines.card(tmp_path))
    pipeline.scheduler = diffusers.DDIMScheduler()
    check(pipeline, odd_pipelines.card(tmp_path))


def test_a_pipeline_whose_processor_needs_torchvision_is_refused(tmp_path: Path) -> None:
    parts = pipelines.stable_diffusion(tmp_path / "tokenizers")
    parts.save_pretrained(tmp_path / "omnigen", safe_serialization=True)
    index = (tmp_path / "omnigen/model_index.json").read_text()
    (tmp_path / "omnigen/model_index.json").write_text(
        index.replace("StableDiffusionPipeline", "OmniGenPipeline").replace('"unet"', '"transformer"')
    )
    (tmp_path / "omnigen/unet").rename(tmp_path / "omnigen/transformer")
    refused = refusal(odd_pipelines.card(tmp_path / "omnigen"))
    assert "needs the package torchvision, which is not installed: pip install 'limner[pipelines]'" in refused


def test_noise_for_which_a_pipeline_passes_no_generator_is_determined_by_the_seed(tmp_path: Path) -> None:
    more = {"options": {"arguments": {"max_sequence_length": 32}}, "schedulers": ["FlowMatchLCMScheduler"]}
    card = odd_pipelines.saved(pipelines.flux, tmp_path, **more)
    generator = load(card, Settings(device="cpu"))
    request = {"prompt": "a cat", "seed": 1, "steps": 3, "scheduler": "FlowMatchLCMScheduler"}
    first, second = job_of(card, "a", request), job_of(card, "b", request)
    assert run(generator, [first]) == run(generator, [second]) == {}
    assert np.array_equal(cast(Picture, first.rows[0].picture), cast(Picture, second.rows[0].picture))


def test_the_numbers_of_steps_that_a_scheduler_refuses_are_found():
    lcm = cast("Any", diffusers).LCMScheduler(original_inference_steps=10)
    assert refused_steps(lcm, Range(min=1, max=20, default=4)) == ((11, 20),)
    assert refused_steps(lcm, Range(min=1, max=1000, default=4)) == (), "too many to try"
    assert refused_steps(cast("Any", diffusers).DDIMScheduler(), Range(min=1, max=50, default=4)) == ()
