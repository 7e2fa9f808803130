"""The check at load finds the calls that may be joined, and refuses a pipeline that does not work."""

from __future__ import annotations

import functools
from functools import partial
from pathlib import Path
from typing import Any, cast

import diffusers
import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from tests.engine import odd_pipelines, pipelines
from tests.engine.pipeline_jobs import job_of, reference, run
from tests.engine.tiny_pipelines import cog_view_4

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.device import Device
from limner_worker.generators.diffusers import self_check
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.model_cache import ModelCache
from limner_worker.generators.registry import load


def settings(tmp_path: Path) -> Settings:
    return Settings(device="cpu", cache_dir=tmp_path / "cache")


def mix_rows(monkeypatch: pytest.MonkeyPatch, cls: Any) -> None:
    """Make a module mix its rows, like one that packs them into one sequence."""
    forward = cls.forward

    @functools.wraps(forward)
    def mixing(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = forward(self, *args, **kwargs)
        first = output[0] + 0.3 * output[0].mean(dim=0, keepdim=True)
        return (first, *output[1:]) if isinstance(output, tuple) else type(output)(first)

    monkeypatch.setattr(cls, "forward", mixing)


def loaded(card: ModelCard, folder: Path) -> DiffusersPipeline:
    generator = load(card, settings(folder))
    assert isinstance(generator, DiffusersPipeline)
    return generator


@pytest.mark.parametrize(
    ("cls", "call"),
    [
        (diffusers.UNet2DConditionModel, "unet.forward"),
        (transformers.CLIPTextModel, "text_encoder.forward"),
    ],
)
def test_a_module_that_mixes_its_rows_is_called_for_one_image_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cls: Any, call: str
) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    assert loaded(card, tmp_path).unbatched_calls == set()
    (tmp_path / "cache").rename(tmp_path / "cache without mixing")
    mix_rows(monkeypatch, cls)
    generator: Any = load(card, settings(tmp_path))
    assert generator.unbatched_calls == {call}
    assert generator.fingerprint()["apart"] == [call]
    jobs = [job_of(card, prompt, {"prompt": prompt, "seed": 1}) for prompt in ("a cat", "two dogs", "a boat")]
    assert run(generator, jobs) == {}
    for job in jobs:
        assert np.abs(job.rows[0].picture - reference(card, job) * 255).max() <= 1, job.claim.spec


def test_a_module_that_mixes_rows_of_texts_of_one_length_only_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mix_rows(monkeypatch, cast("Any", diffusers).CogView4Transformer2DModel)
    card = odd_pipelines.saved(cog_view_4, tmp_path)
    assert loaded(card, tmp_path).unbatched_calls == {"transformer.forward"}


def test_pictures_without_colours_are_refused(tmp_path: Path) -> None:
    card = odd_pipelines.card(tmp_path)
    for channels in (3, 4):
        self_check._check_pictures(card, "text-to-image", [np.zeros((32, 64, channels), np.float32)])
    with pytest.raises(CardError, match="its pictures have no colours, but 1 channel"):
        self_check._check_pictures(card, "text-to-image", [np.zeros((32, 64, 1), np.float32)])


def test_the_result_is_stored_for_the_same_weights_card_and_software(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    drawn: list[str] = []
    alone = DiffusersPipeline.draw_alone

    def counted(self: DiffusersPipeline, task: Any) -> Any:
        drawn.append(self.card.name)
        return alone(self, task)

    monkeypatch.setattr(DiffusersPipeline, "draw_alone", counted)
    load(card, settings(tmp_path))
    once = len(drawn)
    assert once >= 2
    load(card, settings(tmp_path))
    assert len(drawn) == once
    [file] = (tmp_path / "cache/checks").iterdir()
    file.write_text("{")
    load(card, settings(tmp_path))
    assert len(drawn) == 2 * once, "a damaged file was used"
    pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    pipe.unet.conv_in.weight.data += 0.01
    pipe.save_pretrained(str(card.source.folder), safe_serialization=True)
    load(card, settings(tmp_path))
    assert len(drawn) == 3 * once, "the result for other weights was used"
    monkeypatch.setattr(self_check, "version", {"transformers": "0", "peft": "0", "accelerate": "0"}.get)
    load(card, settings(tmp_path))
    assert len(drawn) == 4 * once, "the result for other libraries was used"
    monkeypatch.setattr(Device, "name", "another GPU")
    load(card, settings(tmp_path))
    assert len(drawn) == 5 * once, "the result for another device was used"


def needs_a_picture(folder: Path) -> Any:
    parts = pipelines.stable_diffusion(folder).components
    parts["unet"] = pipelines.unet(in_channels=9)
    return diffusers.StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)


def test_a_pipeline_that_does_not_work_is_refused_and_the_other_models_are_served(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    good = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)
    bad = odd_pipelines.saved(needs_a_picture, tmp_path, name="bad")
    models = ModelCache([bad, good], partial(load, settings=settings(tmp_path)))
    assert list(models.cards) == ["odd"]
    assert "text-to-image does not work with this pipeline" in capsys.readouterr().err + caplog.text


def test_a_pipeline_that_draws_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)

    def draw_alone(*_: object) -> NDArray[np.float32]:
        return np.zeros((64, 32, 3), np.float32)

    monkeypatch.setattr(DiffusersPipeline, "draw_alone", draw_alone)
    with pytest.raises(CardError, match="text-to-image: 64x32 was asked for, 32x64 was drawn"):
        load(card, settings(tmp_path))


def test_pictures_in_half_precision_may_differ_slightly() -> None:
    picture = np.full((8, 8, 3), 0.5, np.float32)
    near, other = picture + 0.01, np.random.default_rng(0).random((8, 8, 3), np.float32)
    assert self_check.equal([near], [picture], exact=False)
    assert not self_check.equal([near], [picture], exact=True)
    assert not self_check.equal([other], [picture], exact=False)


def test_every_task_of_a_card_is_tried(tmp_path: Path) -> None:
    tasks = ["text-to-image", "image-to-image", "inpainting"]
    card: ModelCard = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path, tasks=tasks)
    with torch.inference_mode():
        assert loaded(card, tmp_path).unbatched_calls == set()


def test_a_card_without_batches_is_checked_too(tmp_path: Path) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path, buckets=(1,))
    assert loaded(card, tmp_path).unbatched_calls == set()


def test_a_model_is_served_unchecked_if_the_memory_is_full_during_its_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = odd_pipelines.saved(pipelines.stable_diffusion, tmp_path)

    def full(_self: DiffusersPipeline, _task: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(DiffusersPipeline, "draw_alone", full)
        load(card, settings(tmp_path))
    assert not (tmp_path / "cache/checks").exists()
    load(card, settings(tmp_path))
    assert (tmp_path / "cache/checks").exists()
