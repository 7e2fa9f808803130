"""Checks of what only a device shows: streams, pinned copies, graphs, offload, full memory, equality in half precision.

Each check returns its figures, or raises: `Skipped` where the device lacks what it needs, anything else as a failure.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

import numpy as np
import torch

from bench.gpu.jobs import ClosedLoop, Outcome, run, specs_of
from bench.gpu.setting import BATCH, LARGEST_MEAN, Figures, Setting, difference, require, require_all, same
from limner_shared.domain.jobs import JobSpec
from limner_worker.engine.job_run import JobRun
from limner_worker.engine.loop import Engine
from limner_worker.generators import device_faults
from limner_worker.generators.base import ImageTask
from limner_worker.generators.device import AsyncDecode, Device
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.diffusers.self_check import check_batching

GROWTH: Final = 0.01
"""The largest growth of the allocated memory over many pictures."""


# --- pictures ---


def batching_at_load(setting: Setting) -> Figures:
    """The check at load finds that every call may be joined."""
    check_batching(setting.generator, setting.folder / "checks")
    unbatched = sorted(setting.generator.unbatched_calls)
    require(not unbatched, f"calls that cannot be joined: {unbatched}")
    return {"joint_schedulers": sorted(map(str, vars(setting.generator)["_joint_schedulers"]))}


def equal_to_pipe(setting: Setting) -> Figures:
    """Pictures of a mixed batch equal those that `pipe()` draws one by one, within the bound of half precision."""
    specs = setting.specs()
    outcome = run(setting.generator, specs, BATCH, keep=True)
    require_all(outcome, len(specs))
    found: list[float] = []
    contrast: list[float] = []
    for place in (0, 3, 7):
        alone = setting.generator.draw_alone(ImageTask(specs[place], specs[place].image_seed(0)))
        pixels = (np.clip(alone, 0, 1) * 255).round().astype(np.uint8)
        found.append(difference(outcome.pictures[str(place)], pixels))
        contrast.append(float(pixels.std()))
    require(max(found) <= LARGEST_MEAN, f"mean differences in 1/255: {found}")
    return {"mean_difference_255": max(found), "bound_255": LARGEST_MEAN, "contrast_255": min(contrast)}


def same_bytes(setting: Setting) -> Figures:
    """Reproducible jobs have the same bytes at any load."""
    first = setting.reproducible
    require_all(first, BATCH)
    again = run(setting.generator, setting.specs(reproducible=True), 3, keep=True)
    require(same(first, again, list(first.pictures)), "the bytes differ at another load")
    return {"pictures": len(first.pictures)}


def replay(setting: Setting) -> Figures:
    """A picture drawn alone, with the batch sizes and places of its receipt, has the same bytes."""
    specs = setting.specs()
    outcome = run(setting.generator, specs, BATCH, keep=True)
    chosen = [1, 6]
    replayed = [_replay_of(specs[place], outcome, str(place)) for place in chosen]
    alone = run(setting.generator, replayed, len(chosen), keep=True)
    for number, place in enumerate(chosen):
        require(np.array_equal(alone.pictures[str(number)], outcome.pictures[str(place)]), f"picture {place} differs")
    return {"batch_sizes": outcome.buckets[str(chosen[1])], "places": outcome.places[str(chosen[1])]}


def _replay_of(spec: JobSpec, outcome: Outcome, key: str) -> JobSpec:
    places = outcome.places[key]
    more = {"replay_places": (tuple(places),)} if places else {}
    return spec.model_copy(update={"replay": (tuple(outcome.buckets[key]),), **more})


def decodes_beside_steps(setting: Setting) -> Figures:
    """Decodes on their own stream run beside steps of other images, and the pictures are the same."""
    setting.require_cuda()
    pending: list[bool] = []
    expected = setting.reproducible
    decode = setting.generator.decode

    def noticed(states: Sequence[Any]) -> AsyncDecode[Any]:
        decoding = decode(states)
        pending.append(not decoding.done())
        return decoding

    with patch.object(setting.generator, "decode", noticed):
        outcome = run(setting.generator, setting.specs(), BATCH, keep=True)
    require(any(pending), "no decode was in flight after its start")
    worst = max(difference(outcome.pictures[key], expected.pictures[key]) for key in expected.pictures)
    require(worst <= LARGEST_MEAN, f"the mean difference is {worst}")
    return {"decodes": len(pending), "in_flight": sum(pending), "mean_difference_255": worst}


def canceled_in_the_middle(setting: Setting) -> Figures:
    """Jobs that are canceled between two steps leave; the others' pictures stay the same."""
    canceled = {"1", "4", "6"}
    done: list[bool] = []

    def cancel(engine: Engine, loop: ClosedLoop, job: JobRun) -> None:
        chosen.setdefault(job.id, job)
        if len(done) == 0 and canceled <= chosen.keys():
            done.append(True)
            engine.abort([chosen[name] for name in canceled])
            loop.drop(len(canceled))

    chosen: dict[str, JobRun] = {}
    outcome = run(setting.generator, setting.specs(), BATCH, keep=True, after_step=cancel)
    require(bool(done), "nothing was canceled")
    require_all(outcome, BATCH - len(canceled))
    expected = setting.reproducible.pictures
    worst = max(difference(picture, expected[key]) for key, picture in outcome.pictures.items())
    require(worst <= LARGEST_MEAN, f"the mean difference of the others is {worst}")
    return {"canceled": len(canceled), "completed": len(outcome.pictures)}


# --- memory ---


def memory_is_flat(setting: Setting) -> Figures:
    """The memory that is allocated after many pictures equals that after a few."""
    few = max(BATCH, setting.pictures // 10)
    run(setting.generator, specs_of(setting.generator, few, first=10_000, steps=1), BATCH)
    before = setting.allocated()
    run(setting.generator, specs_of(setting.generator, setting.pictures, first=20_000, steps=1), BATCH)
    after = setting.allocated()
    # Of each text the encoder's output and its own embedding are kept, up to the limits of the two caches.
    cached = setting.pictures * 77 * 768 * 2 if setting.cuda else 0
    require(after - before <= GROWTH * max(before, 1) + 2 * cached, f"{before} bytes became {after}")
    return {"pictures": setting.pictures, "before_mb": before / 1e6, "after_mb": after / 1e6}


def out_of_memory(setting: Setting) -> Figures:
    """With too little memory for a full batch, all jobs succeed in smaller ones, and larger ones come back later."""
    setting.require_cuda()
    specs = specs_of(setting.generator, BATCH, first=30_000)
    peaks: dict[int, int] = {}
    for concurrent in (2, BATCH):
        device_faults.release_cached_memory()
        torch.cuda.reset_peak_memory_stats()
        run(setting.generator, specs, concurrent)
        peaks[concurrent] = torch.cuda.max_memory_allocated()
    device_faults.release_cached_memory()
    limit = (peaks[2] + peaks[BATCH]) / 2
    before = torch.cuda.memory_stats()["num_ooms"]
    cuda: Any = torch.cuda  # untyped in part
    cuda.set_per_process_memory_fraction(limit / cuda.get_device_properties(0).total_memory)
    try:
        outcome = run(setting.generator, specs, BATCH, keep=True)
    finally:
        cuda.set_per_process_memory_fraction(1.0)
    faults = torch.cuda.memory_stats()["num_ooms"] - before
    require_all(outcome, BATCH)
    require(faults > 0, "memory was never full")
    return {"limit_gb": limit / 1e9, "peak_of_8_gb": peaks[BATCH] / 1e9, "out_of_memory_errors": faults}


def broken_context(setting: Setting) -> Figures:
    """An assertion on the device is recognised as one after which only a new process can go on."""
    setting.require_cuda()
    program = (
        "import torch\n"
        "from limner_worker.generators.device_faults import is_device_broken, is_out_of_memory\n"
        "try:\n"
        "    torch.zeros(4, device='cuda')[torch.tensor([9], device='cuda')].cpu()\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, is_device_broken(error), is_out_of_memory(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    name, *verdict = done.stdout.split() or ["nothing"]
    require(verdict == ["True", "False"], f"{done.stdout} {done.stderr[-300:]}")
    return {"error": name}


# --- the device ---


def pinned_copies(setting: Setting) -> Figures:
    """Copies from and to pinned memory have the same content."""
    device = Device(setting.device)
    tensor = torch.randn(1 << 20)
    copied = device.to_device(tensor)
    back = device.to_host(copied)
    device.synchronize(decodes=True)
    require(torch.equal(back, tensor), "the content differs")
    require(not setting.cuda or back.is_pinned(), "the copy is not in pinned memory")
    return {"device": device.name}


def synchronisations_in_a_step(setting: Setting) -> Figures:
    """How often a step waits for the device besides its end, as torch reports it."""
    setting.require_cuda()
    generator = setting.generator
    tasks = [ImageTask(spec, spec.image_seed(0)) for spec in specs_of(generator, BATCH, first=40_000)]
    images = generator.start(tasks)
    generator.step(images)
    steps, found = 4, list[warnings.WarningMessage]()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        for _ in range(steps):
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                generator.step(images)
            found += [each for each in caught if "synchroniz" in str(each.message)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
        for image in images:
            image.close()
    places = sorted({f"{Path(each.filename).name}:{each.lineno}" for each in found})
    return {"for_each_row_step": len(found) / steps / BATCH, "places": places[:8]}


def _equal_pictures(setting: Setting, plain: DiffusersPipeline, other: DiffusersPipeline) -> Figures:
    specs = specs_of(plain, BATCH, mixed=True)
    expected, found = (run(each, specs, 4, keep=True) for each in (plain, other))
    require_all(found, BATCH)
    worst = max(difference(found.pictures[key], expected.pictures[key]) for key in expected.pictures)
    require(worst <= LARGEST_MEAN, f"the mean difference is {worst}")
    return {"mean_difference_255": worst, "dtype": plain.card.dtype}


def compiled_denoiser(setting: Setting) -> Figures:
    """A compiled denoiser gives the same pictures, within rounding."""
    setting.require_cuda()  # on a CPU it needs a C++ compiler; the tests have it
    return _equal_pictures(setting, setting.tiny(buckets=(4,)), setting.tiny(buckets=(4,), compile=True))


def cuda_graphs(setting: Setting) -> Figures:
    """CUDA graphs, recorded on one thread and replayed on others, give the same pictures, within rounding."""
    setting.require_cuda()
    graphs = setting.tiny(buckets=(4,), cuda_graphs=True)
    spec = specs_of(graphs, 1)[0]
    graphs.draw_alone(ImageTask(spec, 0))  # as the check at load does, on another thread than the engine's
    return _equal_pictures(setting, setting.tiny(buckets=(4,)), graphs)


def offloaded_model(setting: Setting) -> Figures:
    """Modules that move to the device when they are called give the same pictures."""
    setting.require_cuda()
    return _equal_pictures(setting, setting.tiny(), setting.tiny(offload="model"))


def offloaded_layers(setting: Setting) -> Figures:
    """Layers that move to the device when they are called give the same pictures."""
    setting.require_cuda()
    return _equal_pictures(setting, setting.tiny(), setting.tiny(offload="sequential"))


def device_map(setting: Setting) -> Figures:
    """A pipeline that accelerate has placed gives the same pictures."""
    setting.require_cuda()
    return _equal_pictures(setting, setting.tiny(), setting.tiny(device_map="balanced"))


CHECKS: Final[tuple[Callable[[Setting], Figures], ...]] = (
    pinned_copies, broken_context, batching_at_load, equal_to_pipe, same_bytes, replay, decodes_beside_steps,
    canceled_in_the_middle, synchronisations_in_a_step, memory_is_flat, out_of_memory, offloaded_model,
    offloaded_layers, device_map,
)  # fmt: skip
COMPILING_CHECKS: Final[tuple[Callable[[Setting], Figures], ...]] = (cuda_graphs, compiled_denoiser)
