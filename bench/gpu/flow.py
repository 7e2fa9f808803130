"""The built-in flow on the device: its pictures beside those of the CPU, and its rate eager and with CUDA graphs.

Its text encoder runs on the CPU in any case; random conditionings take its place, so that its package is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import torch

from bench.gpu.jobs import run, specs_of
from bench.gpu.setting import difference, require
from limner_shared.domain.catalogue import Catalogue
from limner_worker.generators.base import ImageTask
from limner_worker.generators.builtin.conditioned import Conditioning
from limner_worker.generators.builtin.latent_flow import LatentFlow

BATCH: Final = 8
LARGEST_MEAN: Final = 2.0
"""The largest mean difference from the CPU's pictures in 1/255."""


class RandomTexts:
    """Stands in for the text encoder: a conditioning that each prompt determines."""

    def __init__(self, device: str) -> None:
        self._device = device

    def scene(self, task: ImageTask, most: int) -> None:
        """Every prompt is drawn as a whole."""

    def rows(self, tasks: Sequence[ImageTask], styles: Sequence[str]) -> list[list[Conditioning]]:
        """Return random unit vectors, seeded by the prompt."""
        return [[self._conditioning(task.spec.prompt)] for task in tasks]

    def _conditioning(self, prompt: str) -> Conditioning:
        random = torch.Generator().manual_seed(sum(prompt.encode()))
        text = torch.nn.functional.normalize(torch.randn(384, generator=random), dim=0)
        return Conditioning(text.to(self._device), None, 0)

    def fingerprint(self) -> dict[str, str]:
        """No weights."""
        return {}

    def require_styles(self, card: Any, styles: Sequence[str]) -> None:
        """Every style is as good."""


def measure(device: str, *, toy: bool) -> dict[str, Any]:
    """Return the difference from the CPU, and pictures a second. Raises AssertionError where pictures differ."""
    base = Catalogue.load([], "limner-flow").get(None)
    card = base.model_copy(update={"scenes": None, "nearest_name": None, "preview": None, "buckets": (1, BATCH)})

    def load(where: str, **changes: Any) -> Any:
        encoder: Any = RandomTexts(where)
        return LatentFlow(card.model_copy(update=changes), where, encoder)

    specs = specs_of(load("cpu"), BATCH, mixed=True)
    expected = run(load("cpu"), specs, BATCH, keep=True)
    forms = {"eager": load(device)}
    if device.startswith("cuda"):
        forms |= {"graphs": load(device, cuda_graphs=True)}
    figures: dict[str, Any] = {}
    for name, generator in forms.items():
        found = run(generator, specs, BATCH, keep=True)
        worst = max(difference(found.pictures[key], expected.pictures[key]) for key in expected.pictures)
        require(worst <= LARGEST_MEAN, f"{name}: the mean difference from the CPU is {worst}")
        rates: dict[str, float] = {}
        for concurrent in (1, BATCH, 32):
            count = BATCH if toy else max(16, 4 * concurrent)
            warm_up = specs_of(generator, concurrent)
            outcome = run(generator, specs_of(generator, count), concurrent, warm_up=warm_up)
            rates[f"engine, {concurrent} concurrent"] = round(outcome.rate, 2)
        figures[name] = {"mean_difference_255": worst, "pictures_per_s": rates}
    return figures
