"""Batched text encoding with a cache that is bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from limner_worker.generators.text_encoding.shared_cache import EmbeddingCache

ENCODER: Final = "text"


class CachedEncoder:
    """Encodes the texts that are not in the cache. For the engine's thread.

    Batches always have the same size, padded with repeats, so that an embedding has the same bits whether or not it was
    cached and whichever texts were in its batch.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], known: EmbeddingCache, batch: int = 1) -> None:
        """If `batch` is above 1, `encode` must give a row the same bits in any position of any batch."""
        self._encode = encode
        self._batch = batch
        self._known = known

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return float32 [n, width] for n texts; each text that is not cached is encoded once."""
        wanted = list(dict.fromkeys(texts))
        found: dict[str, Tensor] = self._known.find(ENCODER, wanted)
        unknown = [text for text in wanted if text not in found]
        for start in range(0, len(unknown), self._batch):
            some = unknown[start : start + self._batch]
            rows = self._encode([*some, *[some[0]] * (self._batch - len(some))])
            new = {
                text: row.clone() for text, row in zip(some, rows, strict=False)
            }  # a view would keep its whole batch
            self._known.store(ENCODER, new)
            found |= new
        return torch.stack([found[text] for text in texts])
