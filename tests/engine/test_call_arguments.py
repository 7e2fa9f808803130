"""A field of a request has an effect, or is refused by name: with the card at load, or with the request."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from diffusers.guiders.classifier_free_guidance import ClassifierFreeGuidance
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from tests.engine.odd_pipelines import card as card_for

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import RequestUnsupported
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.call_arguments import CallArguments
from limner_worker.generators.diffusers.output_pictures import drawn, picture_of


class Plain:
    """A pipeline with classifier-free guidance, which edits without a strength."""

    def __call__(
        self,
        prompt: str,
        negative_prompt: str,
        guidance_scale: float,
        image: Any,
        ip_adapter_image: Any = None,
        num_inference_steps: int = 9,
        generator: Any = None,
        **ignored: Any,
    ) -> None: ...


class TrueGuidance:
    """A pipeline whose guidance needs a negative prompt, or is an input of its denoiser."""

    def __init__(self, *, learned: bool) -> None:
        self.transformer = SimpleNamespace(config=SimpleNamespace(guidance_embeds=learned))

    def __call__(
        self,
        prompt: str,
        negative_prompt: str,
        true_cfg_scale: float,
        guidance_scale: float,
        max_area: int,
        num_inference_steps: int,
        generator: Any,
    ) -> None: ...


class Guided:
    """A pipeline whose guidance is that of a guider."""

    def __init__(self) -> None:
        self.guider: Any = ClassifierFreeGuidance(guidance_scale=3.5)

    def __call__(self, prompt: str, negative_prompt: str, num_inference_steps: int, generator: Any) -> None: ...


def card(**more: Any) -> ModelCard:
    return card_for(Path("nowhere"), **{"negative_prompts": True} | more)


def given(pipeline: Any, card: ModelCard, **request: Any) -> dict[str, Any]:
    spec = card.resolve(JobRequest(prompt="a cat", **request))
    arguments = CallArguments.of(pipeline, card).given(ImageTask(spec, seed=1))
    assert arguments.pop("generator").initial_seed() == 1
    assert arguments.pop("num_inference_steps") == spec.steps
    return arguments


def test_guidance_that_needs_a_negative_prompt_gets_one():
    assert given(TrueGuidance(learned=False), card(), guidance=4.0) == {
        "prompt": "a cat", "negative_prompt": " ", "true_cfg_scale": 4.0, "max_area": 32 * 32,
    }  # fmt: skip
    assert given(TrueGuidance(learned=False), card(), guidance=4.0, negative_prompt="blue")["negative_prompt"] == "blue"
    assert "negative_prompt" not in given(TrueGuidance(learned=False), card(), guidance=1.0)
    assert "negative_prompt" not in given(Plain(), card(), guidance=4.0)


class OnlyTrueGuidance:
    """A pipeline whose denoiser says nothing of guidance, such as Qwen-Image 2.1."""

    def __init__(self) -> None:
        self.transformer = SimpleNamespace(config=SimpleNamespace())

    def __call__(
        self, prompt: str, negative_prompt: str, true_cfg_scale: float, num_inference_steps: int, generator: Any
    ) -> None: ...


def test_a_pipeline_with_no_other_guidance_gets_the_true_one():
    assert given(OnlyTrueGuidance(), card(), guidance=4.0) == {
        "prompt": "a cat", "negative_prompt": " ", "true_cfg_scale": 4.0,
    }  # fmt: skip


def test_a_card_that_allows_negative_prompts_is_refused_where_they_have_no_effect():
    with pytest.raises(ValueError, match="ignores negative prompts: set negative_prompts = false"):
        CallArguments.of(TrueGuidance(learned=True), card())
    CallArguments.of(TrueGuidance(learned=True), card(negative_prompts=False))
    CallArguments.of(TrueGuidance(learned=True), card(options={"arguments": {"true_cfg_scale": 4.0}}))


class Unguided:
    """A pipeline without guidance."""

    def __call__(self, prompt: str, negative_prompt: str, num_inference_steps: int, generator: Any) -> None: ...


class Stages:
    """A pipeline with a number of steps for each of its stages, such as unCLIP."""

    def __call__(
        self, prompt: str, negative_prompt: str, guidance_scale: float, prior_num_inference_steps: int, generator: Any
    ) -> None: ...


class Unseeded:
    """A pipeline whose noise no request determines."""

    def __call__(self, prompt: str, negative_prompt: str, guidance_scale: float, num_inference_steps: int) -> None: ...


ONE: Any = {"min": 4, "max": 4, "default": 4}


@pytest.mark.parametrize(("pipeline", "field"), [(Unguided(), "guidance"), (Stages(), "steps")])
def test_a_card_with_a_choice_of_what_the_pipeline_ignores_is_refused(pipeline: Any, field: str):
    with pytest.raises(ValueError, match=f"ignores {field}: set min, max and default of {field} to one number"):
        CallArguments.of(pipeline, card())
    CallArguments.of(pipeline, card(**{field: ONE}))


def test_a_pipeline_whose_call_takes_no_seed_is_refused():
    with pytest.raises(ValueError, match="Unseeded takes no seeds"):
        CallArguments.of(Unseeded(), card())


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"arguments": {"ip_adapter_image": "face.png"}}, "ip_adapter_image is given by requests: name the IP-Adapter"),
        ({"arguments": {"ip_adapter_image_embeds": [1.0]}}, "ip_adapter_image_embeds is given by requests"),
        ({"arguments": {"guidence_scale": 2.0}}, "Plain takes no guidence_scale"),
        ({"arguments": {"output_type": "pil"}}, "output_type is given by requests or the engine"),
        ({"argument": {"guidance_scale": 2.0}}, "options: argument: this family has `arguments` only"),
    ],
)
def test_a_card_is_refused_for_an_argument_that_has_no_effect(options: dict[str, Any], reason: str):
    with pytest.raises(ValueError, match=reason):
        CallArguments.of(Plain(), card(options=options))


def test_guidance_is_set_in_the_guider_of_a_pipeline_that_has_one():
    pipeline, about = Guided(), card()
    CallArguments.of(pipeline, about).guide(pipeline, about.resolve(JobRequest(prompt="a cat", guidance=9.0)))
    assert pipeline.guider.guidance_scale == 9.0


@pytest.mark.parametrize(
    ("field", "request_"),
    [
        ("guidance_rescale", {"guidance_rescale": 0.7}),
        ("strength", {"image": "0" * 64, "strength": 0.5}),
        ("padding_mask_crop", {"image": "0" * 64, "mask": "1" * 64, "padding_mask_crop": 0}),
    ],
)
def test_a_request_is_refused_for_a_field_that_the_pipeline_does_not_take(field: str, request_: dict[str, Any]):
    about = card(tasks=("text-to-image", "image-to-image", "inpainting"))
    with pytest.raises(RequestUnsupported, match=f"^{field}: this model \\(Plain\\) does not take it"):
        given(Plain(), about, **request_)
    given(Plain(), about, image="0" * 64)


def test_a_request_cannot_choose_what_the_cards_arguments_fix():
    fixed = {"options": {"arguments": {"guidance_scale": 2.0}}}
    with pytest.raises(ValueError, match="Plain with this card's arguments ignores guidance"):
        CallArguments.of(Plain(), card(**fixed))
    assert given(Plain(), card(guidance=ONE, **fixed))["guidance_scale"] == 2.0


def test_a_picture_of_another_size_than_asked_for_fails():
    spec = card().resolve(JobRequest(prompt="a cat", width=64, height=32))
    assert drawn(np.zeros((32, 64, 3), np.float32), spec)().shape == (32, 64, 3)
    with pytest.raises(RequestUnsupported, match="32×64 pixels instead of 64×32"):
        drawn(np.zeros((64, 32, 3), np.float32), spec)


class Editing:
    """A pipeline that starts from a picture with noise."""

    def __init__(self, scheduler: Any) -> None:
        self.scheduler = scheduler

    def __call__(
        self, prompt: str, guidance_scale: float, image: Any, strength: float, num_inference_steps: int, generator: Any
    ) -> None: ...


@pytest.mark.parametrize("steps", range(2, 60))
def test_flow_matching_leaves_out_a_step_for_any_strength_below_one(steps: int):
    about = card(tasks=("image-to-image",), negative_prompts=False, steps={"min": 1, "max": 99, "default": 9})
    flow = Editing(FlowMatchEulerDiscreteScheduler())
    for asked in (0.5, 0.8, 0.999):
        strength = given(flow, about, image="0" * 64, strength=asked, steps=steps)["strength"]
        assert max(1, int(steps - steps * asked)) == int(steps - steps * strength)
    assert given(flow, about, image="0" * 64, strength=1.0, steps=steps)["strength"] == 1.0
    other = Editing(DDIMScheduler())
    assert given(other, about, image="0" * 64, strength=0.999, steps=steps)["strength"] == 0.999


def test_embeddings_of_three_dimensions_are_no_picture():
    with pytest.raises(TypeError, match="dict has no picture of height, width and colours"):
        picture_of({"image_embeddings": np.zeros((1, 16, 24, 24), np.float32)})
    assert picture_of({"images": np.zeros((1, 32, 32, 3), np.float32)}).shape == (32, 32, 3)
