"""The lengths of texts that a pipeline's tokenizers pad to, which some checkpoints do not say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

TOKENIZER: Final = "tokenizer"
TEXT_ENCODER: Final = "text_encoder"
LONGEST: Final = 1_000_000
"""More tokens than any text encoder takes. Tokenizers whose files name no limit have a number far above it, and padding
a text to a hundred million tokens takes minutes and gigabytes."""


def limit_texts(components: Mapping[str, Any]) -> None:
    """Give each tokenizer without a limit that of the text encoder of the same number, if that has one."""
    for name, tokenizer in components.items():
        if not name.startswith(TOKENIZER) or getattr(tokenizer, "model_max_length", 0) <= LONGEST:
            continue
        encoder = components.get(name.replace(TOKENIZER, TEXT_ENCODER))
        positions = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
        if isinstance(positions, int):
            tokenizer.model_max_length = positions
