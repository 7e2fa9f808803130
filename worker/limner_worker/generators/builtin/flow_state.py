"""The state of one picture of the built-in quality model between steps: one row, or one for each drawing of a scene."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final

import torch
from safetensors.torch import load, save
from torch import Tensor

from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.scenes import Scene
from limner_worker.generators.base import ImageTask
from limner_worker.generators.builtin.conditioned import Conditioning
from limner_worker.generators.builtin.scenes.drawing import drawing_seed

LATENT_SHAPE: Final = (16, 8, 8)
LATENTS: Final = "latents"
FULL_SIDE: Final = 256
"""The side in pixels at which the drawings of a scene are cut out."""
SCENE_ROWS: Final = "scene_rows"
"""The latents of a scene's drawings. Earlier releases find neither `latents` nor `scene_latents`, and start again."""
SCENE: Final = "scene"
"""The digest of the scene: another reading of the prompt may have as many drawings, and must not continue these."""


@dataclass(eq=False, slots=True)
class FlowState:
    """The state of one image between steps."""

    task: ImageTask
    latents: Tensor  # float32 [rows, 16, 8, 8], normalised
    conditionings: Sequence[Conditioning]
    """One for each row."""
    velocity: Tensor | None = None  # float32 [rows, 16, 8, 8], from the last step
    steps_done: int = 0
    error: Exception | None = None

    @property
    def spec(self) -> JobSpec:
        """The resolved request."""
        return self.task.spec

    @property
    def scene(self) -> Scene | None:
        """What the picture is put together from; None if it is drawn as a whole."""
        return self.task.scene

    @property
    def rows(self) -> int:
        """How many rows of a batch it takes: one for each of its drawings."""
        return len(self.conditionings)

    @property
    def key(self) -> Hashable:
        """All images may share a step, whatever their seed, steps, guidance, prompt, number of rows or even size.

        A decode is of drawings of one size: larger ones take many times longer, which would tell the engine that
        batches do not pay.
        """
        return self.task.alone, self.drawn_side if self.finished else None

    @property
    def drawn_side(self) -> int:
        """The side in pixels of each of its drawings."""
        return self.spec.width if self.scene is None else FULL_SIDE

    @property
    def time(self) -> float:
        """The position between noise (0) and data (1)."""
        return self.steps_done / self.spec.steps

    @property
    def finished(self) -> bool:
        """Whether only the decode is left."""
        return self.steps_done >= self.spec.steps

    def checkpoint(self) -> bytes | None:
        """Return the latents and the number of steps done as safetensors; None before the first step."""
        if self.steps_done == 0:
            return None
        latents = self.latents.cpu()
        stored = {LATENTS: latents[0].contiguous()}
        if self.scene is not None:
            stored = {SCENE_ROWS: latents, SCENE: _digest(self.scene)}
        return save({**stored, "steps_done": torch.tensor(self.steps_done)})

    def close(self) -> None:
        """Do nothing: the tensors are freed with the state."""


def started(task: ImageTask, rows: int) -> tuple[Tensor, int]:
    """Return the first latents [rows, 16, 8, 8] of an image and the steps done: from its checkpoint, or noise.

    Raises ValueError for a checkpoint of another scene or number of rows, KeyError for one of another kind.
    """
    if not task.checkpoint:
        return torch.stack([_noise(drawing_seed(task.seed, place)) for place in range(rows)]), 0
    stored = load(task.checkpoint)
    latents = stored[LATENTS][None] if task.scene is None else stored[SCENE_ROWS]
    if latents.shape != (rows, *LATENT_SHAPE):
        raise ValueError(f"a checkpoint of shape {tuple(latents.shape)} instead of {rows} rows")
    if task.scene is not None and not torch.equal(stored[SCENE], _digest(task.scene)):
        raise ValueError("a checkpoint of another scene")
    return latents, int(stored["steps_done"])


def is_of_scene(checkpoint: bytes | None) -> bool:
    """Return whether an image with this checkpoint may be drawn as a scene: it was not begun as a whole."""
    return not checkpoint or LATENTS not in load(checkpoint)


def packed(states: Sequence[FlowState], most: int) -> list[list[FlowState]]:
    """Return states in groups of at most `most` rows, in order; a state with more rows is alone.

    A state's rows stay together, so that one padded size for each step is enough to reproduce them.
    """
    groups: list[list[FlowState]] = []
    taken = most
    for state in states:
        if taken + state.rows > most:
            groups.append([])
            taken = 0
        groups[-1].append(state)
        taken += state.rows
    return groups


def _digest(scene: Scene) -> Tensor:
    """Return the SHA-256 of a scene: uint8 [32]."""
    recorded = json.dumps(scene.recorded(), sort_keys=True).encode()
    return torch.tensor(list(hashlib.sha256(recorded).digest()), dtype=torch.uint8)


def _noise(seed: int) -> Tensor:
    return torch.randn(LATENT_SHAPE, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
