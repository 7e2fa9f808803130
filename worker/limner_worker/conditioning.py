"""Texts to embeddings, batched and remembered: one cache for a text encoder, bounded in bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


class CachedEncoder:
    """Encodes only what it has not seen lately. Used by the engine's thread alone."""

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], max_bytes: int) -> None:
        self._encode = encode
        self._max_bytes = max_bytes
        self._bytes = 0
        self._known: OrderedDict[str, Tensor] = OrderedDict()

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """float32 [n, width] for n texts; those unknown are encoded in one batch, each once."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        if unknown:
            for text, embedding in zip(unknown, self._encode(unknown), strict=True):
                self._known[text] = embedding
                self._bytes += embedding.nbytes
        for text in texts:
            self._known.move_to_end(text)
        embeddings = torch.stack([self._known[text] for text in texts])
        while self._bytes > self._max_bytes and self._known:
            self._bytes -= self._known.popitem(last=False)[1].nbytes
        return embeddings
