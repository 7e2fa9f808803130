"""Pictures that follow a control picture: the control network's calls are joined like the denoiser's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.engine import odd_pipelines, tiny_variants
from tests.engine.pipeline_jobs import ALL_TASKS, finish, job_of, reference, run
from tests.parameters import long_except

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.registry import load

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of diffusers about itself
CONTROL: Any = {"scale": {"min": 0, "max": 2, "default": 1}}
FAMILIES: dict[str, dict[str, Any]] = {
    "StableDiffusionControlNetPipeline": {"tasks": ALL_TASKS},
    "StableDiffusionXLControlNetPipeline": {"tasks": ALL_TASKS},
    "StableDiffusion3ControlNetPipeline": {"options": {"arguments": {"max_sequence_length": 32}}},
    "FluxControlNetPipeline": {"tasks": ALL_TASKS, "options": {"arguments": {"max_sequence_length": 32}}},
    "StableDiffusionXLControlNetUnionPipeline": {"options": {"arguments": {"control_mode": 3}}},
    "ZImageControlNetPipeline": {"control": {"interval": False}},
    "StableDiffusionAdapterPipeline": {"control": {"interval": False}},
}
REQUESTS: list[dict[str, Any]] = [
    {"prompt": "a cat", "seed": 1, "steps": 3},
    {"prompt": "two red apples on a table", "seed": 2, "steps": 4, "control_scale": 0.4},
    {"prompt": "dog", "seed": 3, "steps": 4, "control_scale": 0.0},
    {"prompt": "a boat", "seed": 4, "steps": 4, "guidance": 1.0, "width": 64, "height": 32},
]
PART: dict[str, Any] = {"prompt": "a tree", "seed": 5, "steps": 4, "control_start": 0.25, "control_end": 0.6}


def card_of(name: str, folder: Path, **more: Any) -> ModelCard:
    """A card of a tiny pipeline, of which images need a control picture."""
    return odd_pipelines.saved(tiny_variants.BUILDERS[name], folder, **{"control": CONTROL} | more)


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory: pytest.TempPathFactory) -> Any:
    card = card_of("StableDiffusionControlNetPipeline", tmp_path_factory.mktemp("sd"))
    return load(card, Settings(device="cpu"))


@pytest.mark.parametrize("name", long_except(FAMILIES, "StableDiffusionControlNetPipeline", "FluxControlNetPipeline"))
def test_a_mixed_batch_equals_the_pipeline_alone(name: str, tmp_path: Path):
    card = card_of(name, tmp_path, **FAMILIES[name])
    assert card.control is not None
    asked = [*REQUESTS, *([PART] if card.control.interval else [])]
    asked += [{"prompt": "a bird", "seed": 6, "steps": 5, "task": task} for task in card.tasks[1:]]
    generator: Any = load(card, Settings(device="cpu"))
    jobs = [job_of(card, str(number), request) for number, request in enumerate(asked)]
    assert run(generator, jobs) == {}
    assert max(max(job.rows[0].task.buckets) for job in jobs) > 1, "no two shared a call"
    for job in jobs:
        assert np.abs(job.rows[0].picture - reference(card, job) * 255).max() <= 1, job.claim.spec


def test_images_with_different_scales_share_the_calls_of_both_networks(
    stable_diffusion: Any, monkeypatch: pytest.MonkeyPatch
):
    calls: list[tuple[str, int]] = []
    for name, function in stable_diffusion._functions.items():

        def counted(*args: Any, _name: str = name, _function: Any = function, **kwargs: Any) -> Any:
            calls.append((_name, kwargs["sample"].shape[0]))
            return _function(*args, **kwargs)

        if name in ("unet.forward", "controlnet.forward"):
            monkeypatch.setitem(stable_diffusion._functions, name, counted)
    requests = [
        {"prompt": "a cat", "seed": seed, "steps": 2, "control_scale": scale, "control_end": 0.5}
        for seed, scale in enumerate((0.0, 0.5, 1.0, 1.5))
    ]
    tasks = [job_of(stable_diffusion.card, "", request).rows[0].task for request in requests]
    states = stable_diffusion.start(tasks)
    finish(stable_diffusion, states)
    assert calls == [("controlnet.forward", 8), ("unet.forward", 8)] * 2


def test_an_image_that_waits_for_a_step_holds_no_output_of_the_control_network(stable_diffusion: Any):
    [state] = stable_diffusion.start([job_of(stable_diffusion.card, "", REQUESTS[0]).rows[0].task])
    for steps in range(3):
        assert (state.pending.name, state.steps_done) == ("controlnet.forward", steps)
        stable_diffusion.step([state])
    assert state.finished
    state.close()


def test_an_image_resumes_from_a_checkpoint_to_the_same_bytes(stable_diffusion: Any, monkeypatch: pytest.MonkeyPatch):
    request = {"prompt": "a cat", "seed": 1, "steps": 6, "control_end": 0.7}
    whole, first, second = (job_of(stable_diffusion.card, name, request).rows[0].task for name in "123")
    [expected] = finish(stable_diffusion, stable_diffusion.start([whole]))
    [state] = stable_diffusion.start([first])
    while state.steps_done < 4:
        stable_diffusion.step([state])
    second.checkpoint, second.buckets = state.checkpoint(), list(first.buckets)
    state.close()
    made: list[object] = []
    network = stable_diffusion.pipeline.controlnet
    monkeypatch.setattr(network, "conv_in", Noted(network.conv_in, made))
    [resumed] = stable_diffusion.start([second])
    assert resumed.error is None
    assert (resumed.steps_done, len(made)) == (4, 1), "one output serves for all steps that are skipped"
    [found] = finish(stable_diffusion, [resumed])
    assert np.array_equal(found, expected)
    assert second.buckets == whole.buckets, "a replay would make other calls"


class Noted(torch.nn.Module):
    """A layer whose calls are noted."""

    def __init__(self, layer: torch.nn.Module, made: list[object]) -> None:
        super().__init__()
        self.layer, self.made = layer, made

    def forward(self, value: Any) -> Any:
        self.made.append(value)
        return self.layer(value)


def test_a_control_network_that_mixes_rows_is_called_for_one_image_at_a_time(tmp_path: Path):
    name = "StableDiffusionXLControlNetUnionPipeline"
    generator: Any = load(card_of(name, tmp_path, **FAMILIES[name]), Settings(device="cpu"))
    assert generator.unbatched_calls == {"controlnet.forward"}


def refusal(name: str, folder: Path, **more: Any) -> str:
    with pytest.raises(CardError) as refused:
        load(card_of(name, folder, **more), Settings(device="cpu"))
    return refused.value.message


@pytest.mark.parametrize(
    ("name", "more", "reason"),
    [
        ("StableDiffusionControlNetPipeline", {"control": None}, "must give: add [control] to the card"),
        ("StableDiffusionImg2ImgPipeline", {"tasks": ["image-to-image"]}, "follows no control picture: remove control"),
        ("ZImageControlNetPipeline", {}, "follows the control picture in all steps: set control.interval = false"),
        ("FluxControlPipeline", {}, "ignores control_scale: set min, max and default of control.scale to one number"),
        (
            "StableDiffusion3ControlNetPipeline",
            {"tasks": ["text-to-image", "inpainting"]},
            "StableDiffusion3ControlNetInpaintingPipeline takes no control_image: leave inpainting out of tasks",
        ),
        (
            "StableDiffusionControlNetPipeline",
            {"options": {"arguments": {"controlnet_conditioning_scale": 0.5}}},
            "ignores control_scale: set min, max and default of control.scale to one number",
        ),
    ],
)
def test_a_card_that_does_not_say_how_its_pipeline_follows_a_picture_is_refused_with_what_to_change(
    name: str, more: dict[str, Any], reason: str, tmp_path: Path
):
    assert reason in refusal(name, tmp_path, **more)


def test_a_pipeline_with_several_control_networks_is_refused(tmp_path: Path):
    pipeline = odd_pipelines.controlnet(tmp_path / "tokenizers")
    pipeline.register_modules(controlnet=odd_pipelines.d.MultiControlNetModel([pipeline.controlnet] * 2))
    pipeline.save_pretrained(tmp_path / "multi", safe_serialization=True)
    with pytest.raises(CardError, match="controlnet is several networks, each with a picture of its own"):
        load(odd_pipelines.card(tmp_path / "multi", control=CONTROL), Settings(device="cpu"))


def test_a_control_network_without_effect_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Such as one that was never trained: its last layers are zero."""

    def untrained(module: Any) -> Any:
        return module

    monkeypatch.setattr(odd_pipelines, "trained", untrained)
    with pytest.raises(CardError, match="ignores the control_image of text-to-image: load the weights without"):
        load(odd_pipelines.saved(odd_pipelines.controlnet, tmp_path, control=CONTROL), Settings(device="cpu"))
