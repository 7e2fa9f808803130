"""What the checks share: the device, its pipelines, and comparisons of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.engine import pipelines

from bench.gpu import models
from bench.gpu.jobs import Outcome, run, specs_of
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_worker.generators import device_faults
from limner_worker.generators.base import Picture
from limner_worker.generators.device_memory import memory_bytes
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline
from limner_worker.generators.diffusers.self_check import MEAN_DIFFERENCE

Figures = dict[str, Any]
MODEL: Final = "sd-1.5"
BATCH: Final = 8
LARGEST_MEAN: Final = 255 * MEAN_DIFFERENCE
"""The largest mean difference from `pipe()` in half precision, in 1/255; the check at load has the same."""
CHECK_STEPS: Final = 6
"""The steps of the checks' pictures; half to one and a half of it, where they are mixed."""


class Skipped(Exception):
    """The check needs what this device does not have."""


class Setting:
    """The device, and the models that the checks share."""

    def __init__(self, device: str, folder: Path, *, toy: bool, pictures: int) -> None:
        """`folder` is for files of the checks; `pictures` is the number of pictures over which memory must not grow."""
        self.device, self.toy, self.pictures = device, toy, pictures
        self.cuda = device.startswith("cuda")
        self.folder = folder

    @cached_property
    def generator(self) -> DiffusersPipeline:
        """The pipeline of the checks, of true size on a GPU."""
        steps = {"min": 1, "max": 100, "default": models.TOY_STEPS if self.toy else CHECK_STEPS}
        return models.load(MODEL, self.device, toy=self.toy, steps=steps)

    @cached_property
    def reproducible(self) -> Outcome:
        """Pictures of jobs whose batches are padded to the largest size."""
        return run(self.generator, self.specs(reproducible=True), BATCH, keep=True)

    def specs(self, count: int = BATCH, **changes: Any) -> list[JobSpec]:
        """Return jobs of mixed numbers of steps."""
        return specs_of(self.generator, count, mixed=True, **changes)

    def tiny(self, dtype: str = "float32", **changes: Any) -> DiffusersPipeline:
        """Load a tiny pipeline from files."""
        files = self.folder / "stable_diffusion"
        if not files.exists():
            pipelines.save("stable_diffusion", self.folder)
        card = models.card_of(MODEL, toy=True, dtype=dtype, source={"folder": str(files)}, **changes)
        return DiffusersPipeline(ModelCard.model_validate(card.model_dump()), self.device, models.CACHE_BYTES)

    def allocated(self) -> float:
        """The bytes in use, after garbage was collected: the device's, or on a CPU the process's."""
        device_faults.release_cached_memory()
        return memory_bytes()["cuda:0" if self.cuda else "cpu", "allocated"]

    def require_cuda(self) -> None:
        """Raise Skipped on other devices."""
        if not self.cuda:
            raise Skipped("needs CUDA")


def difference(one: Picture, other: Picture) -> float:
    """Return the mean difference of two pictures in 1/255."""
    return float(np.abs(one.astype(np.float32) - other.astype(np.float32)).mean())


def require(condition: bool, message: str) -> None:
    """Raise AssertionError unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def require_all(outcome: Outcome, count: int) -> None:
    """Raise AssertionError unless all jobs succeeded."""
    require(not outcome.errors, f"jobs failed: {outcome.errors}")
    require(len(outcome.latencies) == count, f"{len(outcome.latencies)} of {count} jobs ended")


def same(one: Outcome, other: Outcome, keys: Sequence[str]) -> bool:
    """Return whether both have the same pictures of these jobs."""
    return all(np.array_equal(one.pictures[key], other.pictures[key]) for key in keys)
