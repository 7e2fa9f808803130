"""The built-in generator: jobs share steps without changing each other's pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask, pictures_of
from limner_worker.generators.builtin.latent_flow import FlowState, LatentFlow
from limner_worker.generators.registry import load


def spec(catalogue: Catalogue, prompt: str = "red apple", **request: Any) -> JobSpec:
    return catalogue.resolve(
        JobRequest.model_validate({"prompt": prompt, "steps": 4, "seed": 7, "width": 64} | request)
    )[1]


def start(flow: LatentFlow, *specs: JobSpec) -> list[FlowState]:
    return flow.start([ImageTask(one, one.seed) for one in specs])


def generate(flow: LatentFlow, specs: list[JobSpec]) -> list[np.ndarray]:
    """Run all in one batch, which each leaves when it is finished."""
    states = start(flow, *specs)
    active = list(states)
    while active:
        flow.step(active)
        active = [state for state in active if not state.finished]
    return pictures_of(flow.decode(states))


def test_the_same_request_gives_the_same_bytes(flow: LatentFlow, catalogue: Catalogue):
    first, second = generate(flow, [spec(catalogue)]), generate(flow, [spec(catalogue)])
    assert np.array_equal(first[0], second[0])


def test_at_a_fixed_batch_size_other_rows_change_no_bit(flow: LatentFlow, catalogue: Catalogue):
    one = start(flow, spec(catalogue))[0]
    flow.step([one])
    flow.step([one, *start(flow, spec(catalogue, "rocket"), spec(catalogue, "pizza"))])
    other = start(flow, spec(catalogue))[0]
    flow.step([other])
    flow.step([*start(flow, spec(catalogue, "ghost", guidance=9)), other, *start(flow, spec(catalogue, seed=5))])
    assert torch.equal(one.latents, other.latents)


def test_jobs_of_different_steps_guidance_seed_and_style_share_a_batch_without_mixing(
    flow: LatentFlow, catalogue: Catalogue
):
    specs = [
        spec(catalogue, steps=3, seed=1, guidance=1.0),
        spec(catalogue, "cat face", steps=6, seed=2, guidance=5.0, style="flat"),
        spec(catalogue, "rocket", steps=5, seed=3, style="noto").model_copy(update={"negative_prompt": "blue"}),
    ]
    together = generate(flow, specs)
    for picture, one in zip(together, specs, strict=True):
        alone = generate(flow, [one])[0]
        assert np.abs(picture.astype(int) - alone.astype(int)).max() <= 1


@pytest.mark.parametrize("size", [64, 256])
def test_a_picture_has_the_requested_size(flow: LatentFlow, catalogue: Catalogue, size: int):
    picture = generate(flow, [spec(catalogue, width=size, height=size)])[0]
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8


def test_latents_that_are_not_finite_are_refused(flow: LatentFlow, catalogue: Catalogue):
    state = start(flow, spec(catalogue))[0]
    state.latents = torch.full_like(state.latents, float("nan"))
    with pytest.raises(FloatingPointError):
        flow.decode([state])


class FailsOnce:
    """A network's hook that fails at its second call, as a full device would."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, *_: object) -> None:
        self.calls += 1
        if self.calls == 2:
            raise RuntimeError("out of memory")


@pytest.mark.parametrize("part", ["flow", "decoder"])
def test_a_step_or_a_decode_that_fails_in_a_later_call_changes_no_picture(
    flow: LatentFlow, catalogue: Catalogue, part: str
):
    scene = "three red apples and two cats and a dog"
    states = start(flow, *(spec(catalogue, scene, seed=seed, width=256, height=256) for seed in range(4)))
    assert sum(state.rows for state in states) > max(flow.card.buckets), "more than one call"
    flow.step(states)
    before = [(state.steps_done, state.latents.clone(), list(state.task.buckets)) for state in states]
    network = flow.flow if part == "flow" else flow.autoencoder.decoder
    hook = network.register_forward_pre_hook(FailsOnce())
    with pytest.raises(RuntimeError, match="out of memory"):
        _ = flow.step(states) if part == "flow" else pictures_of(flow.decode(states))
    hook.remove()
    for state, (steps, latents, buckets) in zip(states, before, strict=True):
        assert (state.steps_done, state.task.buckets) == (steps, buckets)
        assert torch.equal(state.latents, latents)


def test_different_seeds_and_different_prompts_give_different_pictures(flow: LatentFlow, catalogue: Catalogue):
    a, b, c = generate(flow, [spec(catalogue), spec(catalogue, seed=8), spec(catalogue, "blue car")])
    assert not np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_half_precision_draws_nearly_the_same_and_is_recorded_in_the_receipt(flow: LatentFlow, catalogue: Catalogue):
    half = load(flow.card.model_copy(update={"dtype": "bfloat16"}), Settings(device="cpu"))
    assert isinstance(half, LatentFlow)
    [exact], [rough] = (generate(each, [spec(catalogue)]) for each in (flow, half))
    assert 0 < np.abs(exact.astype(int) - rough).mean() < 2
    assert half.fingerprint()["dtype"] == "bfloat16"
