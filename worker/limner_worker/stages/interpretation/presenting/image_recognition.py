"""What the evaluator sees in finished pictures: names of things, and vectors by which pictures are compared."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from limner_shared.domain.embeddings import DIMENSIONS, VECTOR_TYPE, Embedding
from limner_shared.domain.jobs import JobSpec
from limner_worker.generators.base import Picture
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.prompt_reading import PromptReader, Reading
from limner_worker.generators.builtin.scenes.colouring import from_oklab, to_oklab
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.languages import emoji
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.weights import load_module
from limner_worker.stages.choosing import Likeness

TOWER: Final = "tower.safetensors"
SIZE: Final = 64
MIN_COSINE: Final = 0.53
"""The least cosine between a picture and a name that is reported; true drawings have about 0.6 with their own."""

MIN_MARGIN: Final = 0.2
"""The margin by which a name must be nearer to the picture than the prompt itself."""

NEAREST: Final = 5
"""A thing is recognised if its name is among this number of nearest ones."""

SAME: Final = 1e-3
"""Cosines this near are equal: a name's stored embedding is rounded to float16."""

SAME_NAME: Final = 0.98
"""Names this near to each other are one name in two spellings."""

HUES: Final = 8
"""A recoloured thing is compared in this number of hues and in grey: few names are known in every colour."""

EMBEDDED_AT_ONCE: Final = 32

PLAIN: Final = 16
"""A picture whose values differ by less shows nothing; the tower sees a thing of that colour in it."""


def reduction(dimensions: int) -> Tensor:
    """Return the fixed matrix that reduces the tower's vectors: float32 [dimensions, DIMENSIONS], orthonormal columns.

    A random projection keeps angles to about 1/sqrt(DIMENSIONS) (Johnson and Lindenstrauss 1984) and needs no data, so
    that vectors of the same weights remain comparable.
    """
    # The legacy generator: numpy promises that its numbers never change (NEP 19).
    random = np.random.RandomState(0).standard_normal((dimensions, DIMENSIONS))
    columns, triangle = np.linalg.qr(random)
    return torch.as_tensor(columns * np.sign(np.diag(triangle)), dtype=torch.float32)


class EvaluatorRecognizer:
    """The image tower with the names that it was trained with. For drawings of that kind. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        """Load the networks and names from a text encoder's folder. Raises WeightsError or EncoderError."""
        self._tower = load_module(ImageTower, folder / TOWER)
        self._encoder = TextEncoder(folder)
        self._names = KnownNames(folder)
        self._lock = threading.Lock()
        self._reduction = reduction(self._tower.concept.out_features)
        weights = hashlib.sha256((folder / TOWER).read_bytes()).hexdigest()[:16]
        self._name = f"{folder.name}:{weights}"

    @torch.inference_mode()
    def embed(self, pictures: Sequence[Picture]) -> list[Embedding]:
        """Return the embedding of each picture, uint8 [H, W, 3], of any sizes."""
        found: list[Embedding] = []
        for start in range(0, len(pictures), EMBEDDED_AT_ONCE):
            some = torch.cat([_pixels(picture) for picture in pictures[start : start + EMBEDDED_AT_ONCE]])
            reduced = F.normalize(self._tower(some).concept @ self._reduction, dim=1).numpy().astype(VECTOR_TYPE)
            found += [Embedding(self._name, vector.tobytes()) for vector in reduced]
        return found

    def translated(self, name: str, language: str) -> str:
        """Return a name in another language, or the name itself if there is no translation."""
        return self._names.translated(name, language)

    def known_names(self) -> dict[str, list[str]]:
        """Return the names that the models were trained with, by language."""
        return {code: [said for said, _ in self._names.in_language(code)] for code in self._names.languages}

    def read(self, spec: JobSpec, most: int) -> Reading:
        """Return what the model draws of a spec's prompt; it draws at most `most` rows at once."""
        with self._lock:
            return self._reader.read(spec, most)

    @cached_property
    def _reader(self) -> PromptReader:
        return PromptReader(self._names, self._encoder.encode)

    @torch.inference_mode()
    def __call__(self, picture: Picture, prompt: str, count: int = 3) -> list[tuple[str, float]]:
        """Return at most `count` names that a picture (uint8 [H, W, 3]) looks like, with their cosines, best first.

        Returns nothing if the picture looks like its prompt.
        """
        with self._lock:  # the encoder's engine is not thread-safe
            asked = self._encoder.encode([emoji.spelled(prompt)])[0]
        seen = self._tower(_pixels(picture)).concept[0]
        best = self._nearest(seen, count)
        return [] if float(seen @ asked) > best[0][1] - MIN_MARGIN else _near(best)

    @torch.inference_mode()
    def names_of(self, picture: Picture, count: int = 3) -> list[tuple[str, float]]:
        """Return at most `count` names that a picture (uint8 [H, W, 3]) looks like, with their cosines, best first."""
        if np.ptp(picture) < PLAIN:
            return []
        return _near(self._nearest(self._tower(_pixels(picture)).concept[0], count))

    def _nearest(self, seen: Tensor, count: int) -> list[tuple[str, float]]:
        """Return this many names with their cosines, the nearest first."""
        scores = self._names.embeddings @ seen
        places = [int(place) for place in scores.argsort(descending=True)[:count]]
        return [(self._names.names[place], float(scores[place])) for place in places]

    def recognises(self, picture: Picture, name: str, *, recoloured: bool) -> bool:
        """Return whether a name is among the nearest to a picture (uint8 [H, W, 3]), in any hue if `recoloured`."""
        return self.likeness(picture, name, recoloured=recoloured).recognised

    @torch.inference_mode()
    def likeness(self, picture: Picture, name: str, *, recoloured: bool) -> Likeness:
        """Return how well a picture (uint8 [H, W, 3]) shows a thing of this name, in any hue if `recoloured`."""
        with self._lock:  # the encoder's engine is not thread-safe
            [asked] = self._encoder.encode([name])
        views = torch.cat([_pixels(each) for each in (hues(picture) if recoloured else [picture])])
        seen = self._tower(views).concept
        names, own = seen @ self._names.embeddings.T, seen @ asked
        nearer = (names > own[:, None] + SAME).sum(1)
        others = names[:, self._names.embeddings @ asked < SAME_NAME]
        return Likeness(int(nearer.min()) < NEAREST, float((own - others.max(1).values).max()))


def _near(names: Sequence[tuple[str, float]]) -> list[tuple[str, float]]:
    return [(name, score) for name, score in names if score >= MIN_COSINE]


def hues(picture: Picture) -> list[Picture]:
    """Return a picture as it is, in other hues, and in grey."""
    lab = to_oklab(picture / np.float32(255))
    turned = [lab * [1, 0, 0]]
    for turn in range(1, HUES):
        angle = 2 * np.pi * turn / HUES
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        turned.append(np.concatenate([lab[..., :1], lab[..., 1:] @ rotation.T], axis=-1))
    return [picture, *((from_oklab(each) * 255).round().astype(np.uint8) for each in turned)]


def _pixels(picture: Picture) -> Tensor:
    """A picture, uint8 [H, W, 3], as the tower takes it: float32 [1, 3, SIZE, SIZE] in [-1, 1]."""
    pixels = torch.as_tensor(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
    return F.adaptive_avg_pool2d(pixels, SIZE)
