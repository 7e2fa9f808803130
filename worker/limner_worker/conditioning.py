"""Texts to embeddings, batched and remembered: one cache for a text encoder, bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from limner_worker.generators.cache import ByteCache


class CachedEncoder:
    """Encodes only what it has not seen lately. Used by the engine's thread alone.

    Texts always go in batches of one size, filled up with repeats, so that an embedding, remembered or not, has the
    same bits whoever else was there.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], max_bytes: int, batch: int = 1) -> None:
        """`encode` must give a row the same bits at any place among any companions, if `batch` is above 1."""
        self._encode = encode
        self._batch = batch
        self._known: ByteCache[str, Tensor] = ByteCache(max_bytes)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """float32 [n, width] for n texts; each that is unknown is encoded once."""
        found = {text: self._known.get(text) for text in texts}
        unknown = [text for text, embedding in found.items() if embedding is None]
        for start in range(0, len(unknown), self._batch):
            some = unknown[start : start + self._batch]
            filled = [*some, *[some[0]] * (self._batch - len(some))]
            for text, embedding in zip(some, self._encode(filled), strict=False):
                found[text] = own = embedding.clone()  # not a view that keeps its whole batch
                self._known.put(text, own, own.nbytes)
        return torch.stack([embedding for text in texts if (embedding := found[text]) is not None])
