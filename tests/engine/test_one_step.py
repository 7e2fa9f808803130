"""The built-in instant model: one step, and the same bytes for the same request in any batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask, pictures_of
from limner_worker.generators.builtin.one_step import OneStep, OneStepState
from limner_worker.generators.registry import load


@pytest.fixture(scope="module")
def model(catalogue: Catalogue) -> OneStep:
    generator = load(catalogue.get("limner-gan"), Settings(device="cpu"))
    assert isinstance(generator, OneStep)
    return generator


def spec(catalogue: Catalogue, prompt: str = "red apple", **request: Any) -> JobSpec:
    fields = {"prompt": prompt, "model": "limner-gan", "seed": 7, "width": 64} | request
    return catalogue.resolve(JobRequest.model_validate(fields))[1]


def generate(model: OneStep, *specs: JobSpec) -> list[np.ndarray]:
    states = model.start([ImageTask(one, one.seed) for one in specs])
    model.step(states)
    assert all(state.finished and state.steps_done == 1 for state in states)
    return pictures_of(model.decode(states))


def test_equal_requests_give_equal_bytes_and_other_seeds_or_prompts_different_ones(
    model: OneStep, catalogue: Catalogue
):
    first, again, seed, prompt = (
        generate(model, one)[0]
        for one in (spec(catalogue), spec(catalogue), spec(catalogue, seed=8), spec(catalogue, "rocket"))
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, seed)
    assert not np.array_equal(first, prompt)


def test_at_a_fixed_batch_size_other_rows_change_no_bit(model: OneStep, catalogue: Catalogue):
    one, others = spec(catalogue), [spec(catalogue, "ghost", seed=n) for n in range(3)]
    left, right = generate(model, one, *others), generate(model, *others[::-1], one)
    assert np.array_equal(left[0], right[-1])


@pytest.mark.parametrize("size", [64, 256])
def test_a_picture_has_the_requested_size(model: OneStep, catalogue: Catalogue, size: int):
    [picture] = generate(model, spec(catalogue, width=size, height=size))
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_an_image_that_is_not_finite_fails_alone(model: OneStep, catalogue: Catalogue):
    states: list[OneStepState] = model.start([ImageTask(spec(catalogue), 1), ImageTask(spec(catalogue), 2)])
    states[0].noise = torch.full_like(states[0].noise, float("nan"))
    model.step(states)
    assert isinstance(states[0].error, FloatingPointError)
    assert states[1].error is None


def test_a_receipt_names_the_weights_and_the_text_encoder(model: OneStep):
    receipt = model.fingerprint()
    assert set(receipt["weights"]) == {"gan.safetensors"}
    assert len(receipt["text_encoder"]) == 64


def test_a_sentence_is_drawn_as_the_name_it_contains_and_the_task_records_it(model: OneStep, catalogue: Catalogue):
    tasks = [ImageTask(one, one.seed) for one in (spec(catalogue, "a purple rocket in the snow"), spec(catalogue))]
    sentence, name = model.start(tasks)
    assert [task.drawn_as for task in tasks] == ["rocket", None]
    [rocket] = model.start([ImageTask(spec(catalogue, "rocket"), 7)])
    assert float(sentence.conditioning.text @ rocket.conditioning.text) > 0.999
    assert float(name.conditioning.text @ rocket.conditioning.text) < 0.9


def test_a_job_from_before_known_names_is_drawn_from_its_whole_prompt(model: OneStep, catalogue: Catalogue):
    now = spec(catalogue, "a purple rocket in the snow")
    then = type(now).model_validate({key: value for key, value in now.model_dump().items() if key != "nearest_name"})
    task = ImageTask(then, then.seed)
    [state] = model.start([task])
    assert task.drawn_as is None
    [rocket] = model.start([ImageTask(spec(catalogue, "rocket"), 7)])
    assert float(state.conditioning.text @ rocket.conditioning.text) < 0.9
    assert not np.array_equal(generate(model, then)[0], generate(model, now)[0])


def test_without_a_style_a_picture_equals_the_one_in_the_style_that_its_seed_chooses(
    model: OneStep, catalogue: Catalogue
):
    by_seed = spec(catalogue, seed=2)
    assert np.array_equal(generate(model, by_seed)[0], generate(model, spec(catalogue, seed=2, style="flat"))[0])
    assert not np.array_equal(generate(model, by_seed)[0], generate(model, spec(catalogue, seed=2, style="3d"))[0])


def test_a_job_from_before_styles_by_seed_is_drawn_in_no_style(model: OneStep, catalogue: Catalogue):
    then = spec(catalogue).model_copy(update={"styles": (), "version": 1})
    [state] = model.start([ImageTask(then, then.seed)])
    assert state.conditioning.style == len(model.gan.styles)


def test_a_name_in_another_language_is_drawn_as_the_english_one_without_a_record(model: OneStep, catalogue: Catalogue):
    task = ImageTask(spec(catalogue, "ein roter Apfel"), 7)
    [state] = model.start([task])
    [apple] = model.start([ImageTask(spec(catalogue, "red apple"), 7)])
    assert float(state.conditioning.text @ apple.conditioning.text) > 0.999
    assert task.drawn_as is None
