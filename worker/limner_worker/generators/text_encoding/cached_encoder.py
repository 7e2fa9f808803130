"""Texts to embeddings, batched and remembered: one cache for a text encoder, bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limner_worker.generators.text_encoding.shared_cache import Embeddings

ENCODER = "text"


class CachedEncoder:
    """Encodes only what it has not seen lately. Used by the engine's thread alone.

    Texts always go in batches of one size, filled up with repeats, so that an embedding, remembered or not, has the
    same bits whoever else was there.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], known: Embeddings, batch: int = 1) -> None:
        """`encode` must give a row the same bits at any place among any companions, if `batch` is above 1."""
        self._encode = encode
        self._batch = batch
        self._known = known

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """float32 [n, width] for n texts; each that is unknown is encoded once."""
        wanted = list(dict.fromkeys(texts))
        found: dict[str, Tensor] = self._known.find(ENCODER, wanted)
        unknown = [text for text in wanted if text not in found]
        for start in range(0, len(unknown), self._batch):
            some = unknown[start : start + self._batch]
            rows = self._encode([*some, *[some[0]] * (self._batch - len(some))])
            new = {text: row.clone() for text, row in zip(some, rows, strict=False)}  # no view that keeps its batch
            self._known.keep(ENCODER, new)
            found |= new
        return torch.stack([found[text] for text in texts])
