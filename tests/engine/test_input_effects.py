"""The check at load finds inputs that a pipeline takes and ignores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.engine import odd_pipelines, tiny_pipelines_4, tiny_variants

from limner_shared.domain.jobs import JobRequest
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask
from limner_worker.generators.diffusers.input_effects import InputEffects
from limner_worker.generators.registry import load

ALL: Any = {"tasks": ("text-to-image", "image-to-image", "inpainting"), "negative_prompts": True}
MASK: Any = {"image": "0" * 64, "mask": "1" * 64}


class Failing:
    """A generator that draws nothing with little guidance, or with any other prompt than a cat's."""

    def __init__(self, drawn_from: float, **card: Any) -> None:
        self.card = odd_pipelines.card(Path("nowhere"), **ALL | card)
        self.pipeline, self.drawn_from = self, drawn_from

    def draw_alone(self, task: ImageTask) -> NDArray[np.float32]:
        if task.spec.guidance < self.drawn_from:
            raise RuntimeError("sizes of tensors must match")
        return np.array([hash((task.spec.prompt, task.spec.negative_prompt, task.spec.guidance))], np.float32)


class Drawing:
    """A generator whose pictures show what it was given, except for what it ignores."""

    def __init__(self, *ignored: str, **card: Any) -> None:
        self.card = odd_pipelines.card(Path("nowhere"), **ALL | card)
        self.pipeline, self.ignored = self, ignored

    def draw_alone(self, task: ImageTask) -> NDArray[np.float32]:
        pictures = {"image": task.image, "mask": task.mask}
        given = task.spec.model_dump(include={"prompt", "negative_prompt", "guidance"}) | {
            name: 0 if pixels is None else int(pixels.sum()) for name, pixels in pictures.items()
        }
        return np.array([hash((name, value)) for name, value in given.items() if name not in self.ignored], np.float32)


def check(drawing: Any, **request: Any) -> None:
    spec = drawing.card.resolve(JobRequest(prompt="a cat", **request))
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    task = ImageTask(spec, 1, image=pixels if spec.image else None, mask=pixels if spec.mask else None)
    InputEffects(drawing, task, drawing.draw_alone(task)).check()


def test_a_pipeline_that_ignores_nothing_is_accepted():
    check(Drawing())
    check(Drawing(), **MASK)


@pytest.mark.parametrize(
    ("ignored", "advice"),
    [
        ("image", "Drawing ignores the image of inpainting: leave inpainting out of tasks"),
        ("mask", "Drawing ignores the mask of inpainting: leave inpainting out of tasks"),
        ("guidance", "Drawing ignores guidance: set min, max and default of guidance to one number"),
        ("negative_prompt", "Drawing ignores negative prompts: set negative_prompts = false"),
    ],
)
def test_what_is_ignored_is_named_with_the_change_to_the_card(ignored: str, advice: str):
    with pytest.raises(CardError, match=f"odd: {advice}"):
        check(Drawing(ignored), **MASK)


@pytest.mark.parametrize(
    ("drawn_from", "remedy"),
    [(1, "set min of guidance to 1"), (1.001, "set min of guidance to 1.01"), (5, "raise min of guidance")],
)
def test_a_guidance_with_which_a_pipeline_fails_is_refused_with_one_that_works(drawn_from: float, remedy: str):
    with pytest.raises(CardError) as refused:
        check(Failing(drawn_from))
    expected = f"odd: Failing fails with a guidance of 0 (sizes of tensors must match): {remedy}"
    assert refused.value.message == expected
    check(Failing(drawn_from, guidance={"min": 5, "max": 9, "default": 7}))


def test_full_memory_is_not_the_pipelines_fault():
    failing: Any = Failing(1)

    def full(task: ImageTask) -> NDArray[np.float32]:
        raise MemoryError

    task = ImageTask(failing.card.resolve(JobRequest(prompt="a cat")), 1)
    failing.draw_alone = full
    with pytest.raises(MemoryError):
        InputEffects(failing, task, np.zeros(1, np.float32)).check()


def test_a_card_need_not_have_an_effect_that_it_does_not_allow():
    one = {"min": 7.5, "max": 7.5, "default": 7.5}
    check(Drawing("image", "mask", "guidance", "negative_prompt", guidance=one, negative_prompts=False))


def test_a_prompt_without_effect_is_logged_and_proves_nothing_about_guidance(capsys: pytest.CaptureFixture[str]):
    check(Drawing("prompt", "guidance", "negative_prompt"))
    assert "the prompt does not change the picture" in capsys.readouterr().err


def test_a_pipeline_that_fails_without_guidance_is_refused_and_works_with_it(tmp_path: Path):
    build = tiny_variants.BUILDERS["HunyuanDiTPAGPipeline"]
    about = {"sizes": [(64, 64)], "options": {"arguments": {"use_resolution_binning": False}}}
    card = odd_pipelines.saved(build, tmp_path, **about)
    with pytest.raises(CardError, match=r"fails with a guidance of 0 .*: set min of guidance to 1\.01"):
        load(card, Settings(device="cpu", cache_dir=tmp_path / "cache"))


@pytest.mark.parametrize(
    ("more", "advice"),
    [
        ({"tasks": ("text-to-image", "image-to-image")}, "ignores the image of image-to-image: leave image-to-image"),
        ({"negative_prompts": True}, "ignores negative prompts: set negative_prompts = false"),
        ({}, None),
    ],
)
def test_unidiffuser_draws_from_a_prompt_only(tmp_path: Path, more: dict[str, Any], advice: str | None):
    card = odd_pipelines.saved(tiny_pipelines_4.uni_diffuser, tmp_path, sizes=[(32, 32)], **more)
    settings = Settings(device="cpu", cache_dir=tmp_path / "cache")
    if advice is None:
        load(card, settings)
        return
    with pytest.raises(CardError, match=advice):
        load(card, settings)
