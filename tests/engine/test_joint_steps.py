"""Schedulers step several images at once where this gives each the bits that it has alone."""

from __future__ import annotations

import copy
from typing import Any, cast

import diffusers
import pytest
import torch
from torch import Tensor

from limner_worker.generators.diffusers.joint_steps import Identities, ScheduledStep, may_join, step_jointly
from limner_worker.generators.diffusers.pipeline_checks import set_steps
from limner_worker.generators.diffusers.scheduler_trials import tried_once

d: Any = diffusers  # its classes are exported lazily, without types
CPU = torch.device("cpu")
JOINED = [
    "DDIMScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler", "EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "LCMScheduler", "TCDScheduler", "UniPCMultistepScheduler",
]  # fmt: skip
CHEAP = {"EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"}
"""Schedulers with so few operations that joining them costs more than it saves."""


def step_of(
    scheduler: Any, output: Tensor, time: Tensor, sample: Tensor, seed: torch.Generator, ids: Identities
) -> Any:
    takes = {"generator": seed} if "generator" in cast("Any", type(scheduler)).step.__code__.co_varnames else {}
    return ScheduledStep(scheduler, (output, time, sample), {"return_dict": False, **takes}, ids)


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_three_images_in_one_step_have_the_bits_of_each_alone(name: str, dtype: torch.dtype) -> None:
    original = getattr(d, name)()
    assert may_join(original, CPU, dtype) == (name not in CHEAP)
    set_steps(original, 12)
    alone, joint = ([copy.deepcopy(original) for _ in range(3)] for _ in "12")
    seeds = [[torch.Generator().manual_seed(seed) for seed in range(3)] for _ in "12"]
    noise = torch.Generator().manual_seed(5)
    samples: list[Tensor] = [torch.randn((1, 4, 8, 6), generator=noise).to(dtype) for _ in range(3)]
    both, ids = list(samples), [Identities() for _ in range(3)]
    for number, time in enumerate(original.timesteps):
        outputs = [torch.randn((1, 4, 8, 6), generator=noise).to(dtype) for _ in range(3)]
        for group, images in ((alone, samples), (joint, both)):
            for each, image in zip(group, images, strict=True):
                if hasattr(each, "scale_model_input"):
                    each.scale_model_input(image, time)
        one = [step_of(*each, Identities()) for each in zip(alone, outputs, [time] * 3, samples, seeds[0], strict=True)]
        samples = [cast("Any", type(each.scheduler)).step(each.scheduler, **each.arguments)[0] for each in one]
        own_times = [each.timesteps[number] for each in joint]  # as pipelines pass them
        steps = [step_of(*each) for each in zip(joint, outputs, own_times, both, seeds[1], ids, strict=True)]
        assert len({each.position for each in steps}) == 1
        both = [result[0] for result in step_jointly(steps)]
        for expected, found in zip(samples, both, strict=True):
            assert torch.equal(expected, found)


class Mixing(d.DDIMScheduler):
    """A scheduler that looks at its batch as a whole."""

    def step(self, model_output: Tensor, *args: Any, **kwargs: Any) -> Any:
        return d.DDIMScheduler.step(self, model_output - model_output.mean(), *args, **kwargs)


def test_a_scheduler_that_reads_several_elements_steps_image_by_image() -> None:
    assert not may_join(Mixing(), CPU, torch.float32)
    assert not may_join(d.DDIMScheduler(thresholding=True), CPU, torch.float32)


def test_a_product_of_matrices_is_joined_only_if_it_sums_a_single_product() -> None:
    assert may_join(d.UniPCMultistepScheduler(solver_order=2), CPU, torch.float32)
    assert not may_join(d.UniPCMultistepScheduler(solver_order=3), CPU, torch.float32)


def test_a_scheduler_is_tried_once_for_each_configuration_device_and_dtype() -> None:
    tried: list[Any] = []

    @tried_once
    def trial(scheduler: Any, dtype: torch.dtype) -> int:
        tried.append(scheduler)
        return len(tried)

    one, same, other = d.DDIMScheduler(), d.DDIMScheduler(), d.DDIMScheduler(thresholding=True)
    assert [trial(each, torch.float32) for each in (one, same, other, one)] == [1, 1, 2, 1]
    assert trial(one, torch.float16) == 3
    assert trial(d.DDPMScheduler(), torch.float32) == 4
    unreadable = d.DDIMScheduler()
    unreadable.register_to_config(trained_betas=object())
    assert [trial(unreadable, torch.float32) for _ in "12"] == [5, 6]


def position(steps: int, index: int, **config: Any) -> Any:
    scheduler = d.EulerDiscreteScheduler(**config)
    set_steps(scheduler, steps)
    sample = torch.zeros(1, 4, 2, 2)
    for time in scheduler.timesteps[:index]:
        scheduler.scale_model_input(sample, time)
        scheduler.step(sample, time, sample)
    return ScheduledStep(scheduler, (sample, scheduler.timesteps[index], sample), {}, Identities()).position


def test_steps_are_joined_only_at_the_same_place_of_the_same_schedule() -> None:
    assert position(10, 3) == position(10, 3)
    different = [
        position(10, 4),
        position(11, 3),
        position(10, 3, use_karras_sigmas=True),
        position(10, 3, beta_end=0.01),
    ]
    assert position(10, 3) not in different
