"""What the evaluator sees in finished pictures: names of things, and vectors by which pictures are compared."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from limner_shared.domain.embeddings import DIMENSIONS, VECTOR_TYPE, Embedding
from limner_shared.domain.jobs import JobSpec
from limner_shared.domain.recognitions import MOST_NAMES
from limner_shared.domain.scenes import NearestName
from limner_worker.generators.base import Picture
from limner_worker.generators.builtin.known_names import KnownNames
from limner_worker.generators.builtin.prompt_reading import PromptReader, Reading
from limner_worker.generators.builtin.scenes.colouring import from_oklab, to_oklab
from limner_worker.generators.text_encoding.sentence_encoder import TextEncoder
from limner_worker.languages import emoji
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.weights import load_module
from limner_worker.stages.choosing import Likeness
from limner_worker.stages.interpretation.language.detection import Named, load_identifier
from limner_worker.stages.interpretation.presenting.known_drawings import DRAWINGS, KnownDrawings
from limner_worker.stages.interpretation.presenting.presentation import language_for
from limner_worker.stages.recognising import Look

TOWER: Final = "tower.safetensors"
SIZE: Final = 64
MIN_COSINE: Final = 0.53
"""The least cosine between a picture and a name that is reported; true drawings have about 0.6 with their own."""

MIN_MARGIN: Final = 0.1
"""The margin by which a name must be nearer to a picture that is not recognised than the one that was drawn."""

NEAREST: Final = 5
"""A thing whose drawing is not known is recognised if its name is among this number of nearest ones,"""

RECOGNISED: Final = 0.45
"""and its cosine with the picture is this: of blots, the name that was asked for is often the nearest one."""

LIKE_DRAWING: Final = 0.617
"""Where the drawing is known, its thing is recognised if the mean of the cosines with the drawing and with the name is
this: a blot is far from the drawing that it should be. `python -m bench.recognition --fit` gives the number."""

ALIKE: Final = 0.75
"""The drawings of names that are this near count too: "a cat" is drawn as a cat's face in some styles."""

SAME: Final = 1e-3
"""Cosines this near are equal: a name's stored embedding is rounded to float16."""

SAME_NAME: Final = 0.98
"""Names this near to each other are one name in two spellings."""

HUES: Final = 8
"""A recoloured thing is compared in this number of hues and in grey: few names are known in every colour."""

LOOKED_AT_ONCE: Final = 32

KNOWN: Final = 0.9
"""A text this near to a name means what the evaluator knows by it."""

KEPT_SUBJECTS: Final = 512

NEIGHBOURS: Final = 12
MEANT: Final = 0.6
"""The least cosine of the embeddings of two names of which one is offered for the other."""

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
        """Load the networks and names from a text encoder's folder, and all else that the first picture would wait for.

        Raises WeightsError or EncoderError.
        """
        self._tower = load_module(ImageTower, folder / TOWER)
        self._encoder = TextEncoder(folder)
        self._names = KnownNames(folder)
        self._reader = PromptReader(self._names, self._encoder.encode)
        self._lock = threading.Lock()
        self._kept_subject = lru_cache(KEPT_SUBJECTS)(self._subject)
        self._reduction = reduction(self._tower.concept.out_features)
        weights = tower_hash(folder)
        self._name = f"{folder.name}:{weights}"
        drawings = folder / DRAWINGS
        known = drawings.is_file()
        self._drawings = KnownDrawings(drawings, weights, len(self._names.names)) if known else None
        load_identifier()

    @torch.inference_mode()
    def look(self, pictures: Sequence[Picture]) -> list[Look]:
        """Return what each picture, uint8 [H, W, 3], of any sizes, looks like."""
        found: list[Look] = []
        for start in range(0, len(pictures), LOOKED_AT_ONCE):
            some = torch.cat([_pixels(picture) for picture in pictures[start : start + LOOKED_AT_ONCE]])
            seen = self._tower(some).concept
            reduced = F.normalize(seen @ self._reduction, dim=1).numpy().astype(VECTOR_TYPE)
            plain = [bool(np.ptp(picture) < PLAIN) for picture in pictures[start : start + LOOKED_AT_ONCE]]
            concepts = seen.masked_fill(torch.tensor(plain)[:, None], 0).numpy()
            found += [
                Look(Embedding(self._name, vector.tobytes()), concept)
                for vector, concept in zip(reduced, concepts, strict=True)
            ]
        return found

    def fuller(self, spec: JobSpec) -> str | None:
        """Return a spec's prompt with fewer words, all of whose things are drawn; None if there is none."""
        with self._lock:
            return self._reader.fuller(spec)

    def language_for(self, spec: JobSpec) -> str:
        """Return the code of the language in which a job is answered; the names that the models know tell it too."""
        return language_for(spec, self._spoken)

    @cached_property
    def _spoken(self) -> Named:
        found: dict[str, set[str]] = {}
        for code, names in self.known_names().items():
            for name in names:
                found.setdefault(name.lower(), set()).add(code)
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

    def subject(self, spec: JobSpec) -> str | None:
        """Return the name that is drawn of a spec's whole prompt; None if it means nothing that the evaluator knows."""
        prompt = emoji.spelled(spec.prompt)
        if (known := self._names.known(prompt)) is not None:
            return known
        with self._lock:
            return self._kept_subject(prompt, spec.nearest_name)  # pyright: ignore[reportArgumentType] - a frozen model is hashable

    def _subject(self, prompt: str, rule: NearestName | None) -> str | None:
        [embedding] = self._encoder.encode([prompt])
        found = self._reader.name(prompt, embedding, rule)
        if found is not None:
            return found.name
        name, cosine = self._names.nearest(embedding)
        return name if cosine >= KNOWN else None

    @torch.inference_mode()
    def recognises(self, look: Look, name: str, style: str | None = None) -> bool:
        """Return whether a picture, perhaps of one thing alone in a style, shows what has this name."""
        scores, own = self._compared(look, name)
        near = self.nearness(look, name, style)
        if near is not None:
            return (near + own) / 2 >= LIKE_DRAWING
        return own >= RECOGNISED and int((scores > own + SAME).sum()) < NEAREST

    def nearness(self, look: Look, name: str, style: str | None) -> float | None:
        """Return the cosine of a picture with the nearest drawing, in a style, of a name or of one that means nearly
        the same; None where no drawing is known.
        """
        place = self._names.place(name)
        if self._drawings is None or place is None:
            return None
        alike = self._names.embeddings @ self._names.embeddings[place] >= ALIKE
        return self._drawings.nearness(look.concept, [int(each) for each in alike.nonzero()], style)

    def cosine(self, look: Look, name: str) -> float:
        """Return the cosine of a picture with a name."""
        return self._compared(look, name)[1]

    @torch.inference_mode()
    def resembled(self, look: Look, name: str) -> list[str]:
        """Return the names that a picture resembles much more than this one, best first."""
        scores, own = self._compared(look, name)
        best = self._best(scores, MOST_NAMES)
        return [other for other, score in _near(best) if score >= own + MIN_MARGIN]

    def neighbours(self, name: str, language: str) -> list[str]:
        """Return other names in a language that mean nearly what this one means, nearest first."""
        asked = self._embedding(name)
        found = self._best(self._names.embeddings @ asked, NEIGHBOURS)
        said = [self._names.in_words(other, language) for other, cosine in found if MEANT <= cosine < SAME_NAME]
        return [each for each in said if each][:MOST_NAMES]

    def _compared(self, look: Look, name: str) -> tuple[Tensor, float]:
        """Return the cosines of a picture with each name, and with this one."""
        seen = torch.as_tensor(look.concept)
        return self._names.embeddings @ seen, float(self._embedding(name) @ seen)

    def _embedding(self, name: str) -> Tensor:
        """Return the embedding of a name [384]; of another text, the one that it is encoded as."""
        known = self._names.embedding(name)
        if known is not None:
            return known
        with self._lock:  # the encoder's engine is not thread-safe
            return self._encoder.encode([name])[0]

    @torch.inference_mode()
    def names_of(self, picture: Picture, count: int = 3) -> list[tuple[str, float]]:
        """Return at most `count` names that a picture (uint8 [H, W, 3]) looks like, with their cosines, best first."""
        if np.ptp(picture) < PLAIN:
            return []
        return _near(self._best(self._names.embeddings @ self._tower(_pixels(picture)).concept[0], count))

    def _best(self, scores: Tensor, count: int) -> list[tuple[str, float]]:
        """Return the names with the highest of these scores, the highest first."""
        places = [int(place) for place in scores.argsort(descending=True)[:count]]
        return [(self._names.names[place], float(scores[place])) for place in places]

    @torch.inference_mode()
    def likeness(self, picture: Picture, name: str, *, recoloured: bool) -> Likeness:
        """Return how well a picture (uint8 [H, W, 3]) shows a thing of this name, in any hue if `recoloured`."""
        asked = self._embedding(name)
        views = torch.cat([_pixels(each) for each in (hues(picture) if recoloured else [picture])])
        seen = self._tower(views).concept
        names, own = seen @ self._names.embeddings.T, seen @ asked
        nearer = (names > own[:, None] + SAME).sum(1)
        others = names[:, self._names.embeddings @ asked < SAME_NAME]
        return Likeness(int(nearer.min()) < NEAREST, float((own - others.max(1).values).max()))


def tower_hash(folder: Path) -> str:
    """Return what tells the tower in a folder from others."""
    return hashlib.sha256((folder / TOWER).read_bytes()).hexdigest()[:16]


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
