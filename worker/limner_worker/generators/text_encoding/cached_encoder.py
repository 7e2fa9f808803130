"""Text encoding with a cache that is bounded in bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from limner_worker.generators.text_encoding.shared_cache import EncodedTextCache

ENCODER: Final = "text"


class CachedEncoder:
    """Encodes the texts that are not in the cache. For the engine's thread.

    Each is encoded alone, so that an embedding has the same bits whether or not it was cached.
    """

    def __init__(self, encode: Callable[[Sequence[str]], Tensor], known: EncodedTextCache) -> None:
        self._encode = encode
        self._known = known

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return float32 [n, width] for n texts; each text that is not cached is encoded once."""
        wanted = list(dict.fromkeys(texts))
        found: dict[str, Tensor] = self._known.find(ENCODER, wanted)
        for text in wanted:
            if text not in found:
                found[text] = self._encode([text])[0]
                self._known.store(ENCODER, {text: found[text]})
        return torch.stack([found[text] for text in texts])
