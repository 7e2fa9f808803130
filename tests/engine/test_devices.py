"""What a GPU needs and a CPU can show: signatures of compiled calls, times on the host, casts of the VAE."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from tests.engine.pipeline_jobs import card_of

from limner_shared.domain.catalogue import Catalogue
from limner_worker.generators.device import compiled
from limner_worker.generators.diffusers.calls.host_times import HostTimes
from limner_worker.generators.diffusers.pipeline_loading import LoadedPipeline

d: Any = diffusers


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch.compile's own imports
def test_a_denoiser_with_cuda_graphs_keeps_its_signature() -> None:
    """Calls are bound to its parameters by name, and pipelines look at them."""

    def forward(sample: Any, timestep: Any, encoder_hidden_states: Any = None) -> None: ...

    card = Catalogue.load([], "limner-flow").get(None).model_copy(update={"cuda_graphs": True})
    assert list(inspect.signature(compiled(forward, card)).parameters) == list(inspect.signature(forward).parameters)


@pytest.mark.parametrize("by_name", [False, True])
def test_a_time_of_the_schedule_is_replaced_by_the_one_on_the_host(by_name: bool) -> None:
    scheduler = d.DDIMScheduler()
    scheduler.set_timesteps(10)
    times = HostTimes(scheduler.timesteps, scheduler.timesteps.clone())
    for place, time in enumerate(scheduler.timesteps):
        args, kwargs = times.given((1, 3), {"timestep": time}) if by_name else times.given((1, time, 3), {"eta": 0.0})
        found = kwargs["timestep"] if by_name else args[1]
        assert found == scheduler.timesteps[place]
        assert found.data_ptr() != time.data_ptr()


@pytest.mark.parametrize("time", [7, torch.tensor(3), torch.zeros(2)])
def test_another_time_is_left_as_it_is(time: Any) -> None:
    args, _ = HostTimes(torch.arange(5), torch.arange(5)).given((1, time, 3), {})
    assert args[1] is time


def test_times_that_are_on_the_host_need_no_copy() -> None:
    scheduler = d.DDIMScheduler()
    assert HostTimes.of(scheduler) is None
    scheduler.set_timesteps(3)
    assert HostTimes.of(scheduler) is None


@pytest.mark.parametrize(("family", "casts"), [("stable_diffusion", False), ("stable_diffusion_xl", True)])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_decodes_wait_for_steps_only_where_the_pipeline_casts_its_vae(
    family: str, casts: bool, dtype: str, tmp_path: Path
) -> None:
    """The setting is on in both; the code of Stable Diffusion does not read it."""
    card = card_of(family, tmp_path).model_copy(update={"dtype": dtype, "schedulers": ()})
    loaded = LoadedPipeline.of(card, "cpu")
    assert loaded.pipeline.vae.config.force_upcast
    assert loaded.casts_its_vae == (casts and dtype == "float16")
