"""Draws the tasks' prompts with a built-in model as its worker does: by the card's defaults, at its first size."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.catalogue import Catalogue
from limner_shared.domain.jobs import JobRequest, JobSpec
from limner_shared.settings import Settings
from limner_training.tasks.prompts import TaskPrompt
from limner_worker.generators.base import ImageTask, pictures_of
from limner_worker.generators.registry import load

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Drawn:
    """A picture [H, W, 3] and what it was drawn from."""

    picture: Pixels
    task: ImageTask


class Artist:
    """One loaded model, with its sampler's settings; None means the card's."""

    def __init__(self, model: str, weights: Path, steps: int | None = None, guidance: float | None = None) -> None:
        """Load the model from `weights`, the folder of all built-in models. Raises CardError."""
        self.card = relocated(Catalogue.load([], model).get(model), weights)
        self._generator = load(self.card, Settings(device="cpu", threads=torch.get_num_threads()))
        has_sampler = self.card.steps.max > 1
        self._steps, self._guidance = (steps, guidance) if has_sampler else (None, None)

    def __call__(self, prompts: Sequence[TaskPrompt], first_seed: int) -> list[Pixels]:
        """Return one picture [H, W, 3] for each prompt; prompt i has the seed `first_seed` + i."""
        return [each.picture for each in self.drawn(prompts, first_seed)]

    def drawn(self, prompts: Sequence[TaskPrompt], first_seed: int) -> list[Drawn]:
        """Return the same with what each picture was drawn from."""
        size = max(self.card.buckets)
        found: list[Drawn] = []
        for at in range(0, len(prompts), size):
            some = enumerate(prompts[at : at + size], first_seed + at)
            found += self._drawn([self._spec(prompt, seed) for seed, prompt in some])
        return found

    def _spec(self, prompt: TaskPrompt, seed: int) -> JobSpec:
        return self.card.resolve(
            JobRequest(prompt=prompt.text, style=prompt.style, seed=seed, steps=self._steps, guidance=self._guidance)
        )

    def _drawn(self, specs: Sequence[JobSpec]) -> list[Drawn]:
        states = self._generator.start([ImageTask(spec, spec.seed) for spec in specs])
        while unfinished := [state for state in states if not state.finished]:
            for some in _by_key(unfinished):
                self._generator.step(some)
            for state in states:
                if state.error is not None:
                    raise state.error
        pictures = {
            id(state): picture
            for some in _by_key(states)
            for state, picture in zip(some, pictures_of(self._generator.decode(some)), strict=True)
        }
        return [Drawn(pictures[id(state)], state.task) for state in states]


def relocated(card: ModelCard, weights: Path) -> ModelCard:
    """Return a built-in model's card with the folders of all its weights below `weights`."""
    folders = {"source": card.name, "text_encoder": "limner-text", "codec": "limner-vae", "preview": "limner-gan"}
    present = {field: folder for field, folder in folders.items() if getattr(card, field) is not None}
    return card.model_copy(update={field: Source(folder=weights / folder) for field, folder in present.items()})


def _by_key(states: Sequence[Any]) -> list[list[Any]]:
    """Return states in groups that may share a call."""
    groups: dict[Hashable, list[Any]] = defaultdict(list)
    for state in states:
        groups[state.key].append(state)
    return list(groups.values())
