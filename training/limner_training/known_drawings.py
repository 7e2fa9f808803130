"""The table of where the trained evaluator sees the drawings, by which it knows failed pictures of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import torch

from limner_training import data
from limner_training.autoencoder import to_tensor
from limner_training.captions import plain_name
from limner_training.tasks.judging import shrunk
from limner_training.tasks.selection import true_sources
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.weights import load_module
from limner_worker.stages.interpretation.presenting.image_recognition import TOWER, tower_hash
from limner_worker.stages.interpretation.presenting.known_drawings import DRAWINGS, save_drawings

LOOKED_AT_ONCE: Final = 64


@torch.inference_mode()
def write_drawings(
    folder: Path, evaluator: Path, on_progress: Callable[[int, int], None] = lambda _done, _total: None
) -> int:
    """Write the table beside the tower and the names in `evaluator`; returns the number of drawings in it.

    The drawings are those of the packages in `folder`, also the held-out ones: no network learns from the table, and no
    score uses it. `on_progress` receives (done, total).

    Raises:
        DataError: the packages are missing and cannot be downloaded.
        WeightsError: the evaluator's weights are missing.
    """
    tower, names = load_module(ImageTower, evaluator / TOWER), KnownNames(evaluator).names
    drawings, sources, _ = true_sources(folder)
    places = {name: place for place, name in enumerate(names)}
    keys = [key for key in sources if plain_name(drawings[key].name) in places]
    concepts = torch.zeros(len(names), len(data.STYLES), tower.concept.out_features)
    drawn = torch.zeros(len(names), len(data.STYLES), dtype=torch.bool)
    for start in range(0, len(keys), LOOKED_AT_ONCE):
        on_progress(start, len(keys))
        some = keys[start : start + LOOKED_AT_ONCE]
        pixels = np.stack([shrunk(data.rasterise(sources[key])) for key in some])
        rows = [places[plain_name(drawings[key].name)] for key in some]
        columns = [data.STYLES.index(style) for _, style in some]
        concepts[rows, columns] = tower(to_tensor(pixels)).concept
        drawn[rows, columns] = True
    save_drawings(concepts, drawn, data.STYLES, tower_hash(evaluator), evaluator / DRAWINGS)
    return len(keys)
