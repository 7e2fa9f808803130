"""Pipelines with CLIP's text encoders weigh the words of prompts; no other pipeline promises that."""

from __future__ import annotations

from inspect import signature
from pathlib import Path
from typing import Any, cast

import diffusers
import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline
from tests.engine import odd_pipelines, tiny_variants
from tests.engine.pipeline_jobs import card_of, controlled, finish, folder, job_of, run
from tests.parameters import long_except

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.prompt_weights import WeightedText
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.diffusers.weighted_prompts import _of_tokens, check_weights
from limner_worker.generators.registry import load

__all__ = ["folder"]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")  # of diffusers about itself
WEIGHING = pytest.mark.parametrize("family", ["stable_diffusion", "stable_diffusion_xl"])


def weighing(family: str, folder: Path) -> ModelCard:
    return card_of(family, folder).model_copy(update={"prompt_weights": True})


def drawn(generator: Any, *prompts: str, **request: Any) -> list[np.ndarray]:
    asked = [{"prompt": prompt, "seed": 1, "steps": 2, **request} for prompt in prompts]
    tasks = [job_of(generator.card, f"{n}", each).rows[0].task for n, each in enumerate(asked)]
    return finish(generator, generator.start(tasks))


@WEIGHING
def test_a_weight_changes_the_picture_and_a_weight_of_one_does_not(family: str, folder: Path) -> None:
    generator: Any = load(weighing(family, folder), Settings(device="cpu"))
    plain, one, more, less = drawn(generator, "a cat", "a (cat:1.0)", "a (cat:1.8)", "a (cat:0.2)")
    assert np.array_equal(plain, one)
    assert len({picture.tobytes() for picture in (plain, more, less)}) == 3
    again, alone = drawn(generator, "a (cat:1.8)", "a cat")
    assert np.array_equal(again, more)
    assert np.array_equal(alone, plain), "a cached text kept the weight of another request"


@WEIGHING
def test_the_weights_of_a_negative_prompt_are_followed_as_well(family: str, folder: Path) -> None:
    generator: Any = load(weighing(family, folder), Settings(device="cpu"))
    [plain] = drawn(generator, "a cat", negative_prompt="a dog", guidance=4)
    [more] = drawn(generator, "a cat", negative_prompt="a (dog:1.8)", guidance=4)
    assert not np.array_equal(plain, more)


def test_the_picture_is_that_of_diffusers_with_the_scaled_embeddings(folder: Path) -> None:
    card = weighing("stable_diffusion", folder)
    generator: Any = load(card, Settings(device="cpu"))
    [ours] = drawn(generator, "a (cat:1.5)", guidance=1)
    pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    pipe.set_progress_bar_config(disable=True)
    embeddings = pipe.encode_prompt("a cat", "cpu", 1, do_classifier_free_guidance=False)[0]
    factors = torch.ones(1, 16, 1)
    factors[:, 2:5] = 1.5  # a start mark and "a", then a token for each of the three letters
    scaled = embeddings * factors
    seeded = torch.Generator().manual_seed(1)
    arguments = {"width": card.sizes[0][0], "height": card.sizes[0][1], "num_inference_steps": 2, "guidance_scale": 1}
    [theirs] = pipe(
        prompt_embeds=scaled * embeddings.norm() / scaled.norm(), generator=seeded, output_type="np", **arguments
    ).images
    assert np.abs(ours.astype(int) - (theirs * 255).round().astype(int)).max() <= 1


def test_a_text_longer_than_its_encoder_reads_keeps_the_end_mark_unweighted(folder: Path) -> None:
    generator: Any = load(weighing("stable_diffusion", folder), Settings(device="cpu"))
    weights = _of_tokens(generator.pipeline.tokenizer, [WeightedText("x" * 40, 1.5)], 16)
    assert weights == [1.0, *[1.5] * 14, 1.0]
    assert len(drawn(generator, f"({'x' * 40}:1.5)")) == 1


def test_a_card_without_weights_draws_the_words_plainly(folder: Path) -> None:
    card = card_of("stable_diffusion", folder)
    spec = job_of(card, "a", {"prompt": "a (cat:1.8)"}).claim.spec
    assert (spec.plain_words, spec.prompt) == (True, "a (cat:1.8)")


def test_a_pipeline_of_the_family_without_the_method_or_the_tokenizer_cannot_weigh_words(folder: Path) -> None:
    card = weighing("stable_diffusion", folder)
    edits = StableDiffusionInstructPix2PixPipeline.__new__(StableDiffusionInstructPix2PixPipeline)
    with pytest.raises(ValueError, match="prompt_weights = false"):
        check_weights(edits, card)


OF_CONTROL = "StableDiffusionControlNetPipeline"
CONTROL = {"scale": {"min": 0, "max": 2, "default": 1}}
OTHERS: dict[str, dict[str, Any]] = {
    OF_CONTROL: {"control": CONTROL},
    "StableDiffusionXLControlNetPipeline": {"control": CONTROL},
    "StableDiffusionAdapterPipeline": {"control": CONTROL | {"interval": False}},
    "StableDiffusionXLPAGPipeline": {},
}
"""Pipelines of other packages, with what their cards have beside weights."""


def with_weights(pipe: Any, text: str) -> dict[str, Any]:
    """The arguments for `a (text:1.5)`, with the embeddings of diffusers scaled by hand."""
    found = pipe.encode_prompt(f"a {text}", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=True)
    factors = torch.ones(1, 16, 1)
    factors[:, 2 : 2 + len(text)] = 1.5
    scaled = found[0] * factors
    names = ["prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds"]
    return dict(zip(names, (scaled * found[0].norm() / scaled.norm(), *found[1:]), strict=False))


@pytest.mark.parametrize("name", long_except(OTHERS, OF_CONTROL))
def test_a_mixed_batch_of_another_package_is_that_of_diffusers_with_the_scaled_embeddings(
    name: str, tmp_path: Path
) -> None:
    card = odd_pipelines.saved(tiny_variants.BUILDERS[name], tmp_path, prompt_weights=True, **OTHERS[name])
    generator: Any = load(card, Settings(device="cpu"))
    texts: dict[str, dict[str, Any]] = {"cat": {}, "dog": {"control_scale": 0.3}, "boat": {"control_scale": 0.7}}
    jobs = [
        job_of(
            card,
            f"{text} {weight}",
            {"prompt": f"a ({text}:{weight})", "seed": 1, "steps": 2} | (more if card.control else {}),
        )
        for text, more in texts.items()
        for weight in (1.5, 1.0)
    ]
    assert run(generator, jobs) == {}
    together = max(max(job.rows[0].task.buckets) for job in jobs) > 1
    assert together == (card.control is not None), "PAG changes layers, so that each image is drawn alone"
    pipe: Any = cast("Any", diffusers.DiffusionPipeline).from_pretrained(str(card.source.folder))
    pipe.set_progress_bar_config(disable=True)
    takes = signature(pipe.__call__).parameters
    for text, weighted, plain in zip(texts, jobs[::2], jobs[1::2], strict=True):
        control = {key: value for key, value in controlled(takes, weighted.rows[0].task).items() if key in takes}
        [theirs] = pipe(
            **with_weights(pipe, text), **control, width=32, height=32, num_inference_steps=2, guidance_scale=7.5,
            generator=torch.Generator().manual_seed(weighted.claim.spec.seed), output_type="np",
        ).images  # fmt: skip
        ours, unweighted = (np.asarray(job.rows[0].picture, dtype=int) for job in (weighted, plain))
        assert np.abs(ours - (theirs * 255).round()).max() <= 1
        assert not np.array_equal(ours, unweighted)


@pytest.mark.parametrize("family", ["stable_diffusion_3", "flux"])
def test_a_pipeline_that_cannot_weigh_words_is_refused_with_the_remedy(family: str, folder: Path) -> None:
    with pytest.raises(CardError, match="prompt_weights = false"):
        load(weighing(family, folder), Settings(device="cpu"))
