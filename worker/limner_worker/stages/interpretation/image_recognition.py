"""What a finished picture looks like to the evaluator: names of things, for the words that present it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Final

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from limner_worker.generators.base import Picture
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.weights import WeightsError, load_module, write_tensors

TOWER: Final = "tower.safetensors"
NAMES: Final = "names.safetensors"
SIZE: Final = 64
SURE: Final = 0.53
"""The least cosine of a picture and a name that is worth telling: true drawings have about 0.6 with their own."""

CLEARLY: Final = 0.2
"""By so much a name must be nearer than the prompt itself."""


class EvaluatorRecognizer:
    """The image tower, and the names of all that it was shown. Made for drawings like those; for any thread."""

    def __init__(self, folder: Path) -> None:
        """Load all from a text encoder's folder. Raises WeightsError or EncoderError for what is missing."""
        self._tower = load_module(ImageTower, folder / TOWER)
        self._encoder = TextEncoder(folder)
        self._lock = threading.Lock()
        try:
            with safe_open(folder / NAMES, framework="pt") as file:
                self._names: list[str] = json.loads(file.metadata()["names"])
                self._embeddings = file.get_tensor("embeddings").float()  # [names, 384]
        except Exception as error:
            raise WeightsError(f"{folder / NAMES} is no file of names: {error}") from error

    @torch.inference_mode()
    def __call__(self, picture: Picture, prompt: str, count: int = 3) -> list[tuple[str, float]]:
        """What a picture (uint8 [H, W, 3]) looks like, the surest first; nothing if it looks like its prompt."""
        with self._lock:  # the encoder's engine is for one thread at a time
            asked = self._encoder.encode([prompt])[0]
        pixels = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        seen = self._tower(F.adaptive_avg_pool2d(pixels, SIZE)).concept[0]
        best = (self._embeddings @ seen).topk(min(count, len(self._names)))
        if float(seen @ asked) > float(best.values[0]) - CLEARLY:
            return []
        found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [(self._names[place], score) for score, place in found if score >= SURE]


def save_names(names: list[str], embeddings: Tensor, folder: Path) -> None:
    """Store names and their conditioning [names, 384] where `EvaluatorRecognizer` reads them."""
    write_tensors(folder / NAMES, {"embeddings": embeddings.half()}, {"names": json.dumps(names, ensure_ascii=False)})
