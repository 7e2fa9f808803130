"""Recognition of finished pictures by the evaluator: names of things, for the presentation."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

import torch
from torch.nn import functional as F

from limner_worker.generators.base import Picture
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.weights import load_module

TOWER: Final = "tower.safetensors"
SIZE: Final = 64
MIN_COSINE: Final = 0.53
"""The least cosine between a picture and a name that is reported; true drawings have about 0.6 with their own."""

MIN_MARGIN: Final = 0.2
"""The margin by which a name must be nearer to the picture than the prompt itself."""


class EvaluatorRecognizer:
    """The image tower with the names that it was trained with. For drawings of that kind. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Load the networks and names from a text encoder's folder. Raises WeightsError or EncoderError."""
        self._tower = load_module(ImageTower, folder / TOWER)
        self._encoder = TextEncoder(folder)
        self._names = KnownNames(folder)
        self._lock = threading.Lock()

    def translated(self, name: str, language: str) -> str:
        """Return a name in another language, or the name itself if there is no translation."""
        return self._names.translated(name, language)

    def known_names(self) -> dict[str, list[str]]:
        """Return the names that the models were trained with, by language."""
        return {code: [said for said, _ in self._names.in_language(code)] for code in self._names.languages}

    @torch.inference_mode()
    def __call__(self, picture: Picture, prompt: str, count: int = 3) -> list[tuple[str, float]]:
        """Return at most `count` names that a picture (uint8 [H, W, 3]) looks like, with their cosines, best first.

        Returns nothing if the picture looks like its prompt.
        """
        with self._lock:  # the encoder's engine is not thread-safe
            asked = self._encoder.encode([prompt])[0]
        pixels = torch.as_tensor(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        seen = self._tower(F.adaptive_avg_pool2d(pixels, SIZE)).concept[0]
        best = (self._names.embeddings @ seen).topk(min(count, len(self._names.names)))
        if float(seen @ asked) > float(best.values[0]) - MIN_MARGIN:
            return []
        found = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        return [(self._names.names[place], score) for score, place in found if score >= MIN_COSINE]
