"""The lengths of texts that a pipeline's text encoders read: some checkpoints do not say them, and what follows is
left out.
"""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from limner_shared.recent_entries import keep_newest

TOKENIZER: Final = "tokenizer"
TEXT_ENCODER: Final = "text_encoder"
LONGEST: Final = 1_000_000
"""More tokens than any text encoder takes. Tokenizers whose files name no limit have a number far above it, and padding
a text to a hundred million tokens takes minutes and gigabytes."""
CLIP: Final = "CLIPTokenizer"
"""How the names of CLIP's tokenizers begin: pipelines cut what they give at `model_max_length`."""
T5: Final = "T5Tokenizer"
"""How those of T5 begin, of whose tokens pipelines read as many as an argument of their call says."""
MOST_TOKENS: Final = "max_sequence_length"
MARKS: Final = 2
"""The most tokens that a tokenizer adds to those of a text."""
REMEMBERED: Final = 256
"""Texts whose length is remembered, so that images of one prompt do not split it again."""


class ReadTexts:
    """What the text encoders of a pipeline read of a prompt, as far as their tokenizers say it."""

    def __init__(self, pipeline: Any, fixed: Mapping[str, Any]) -> None:
        """`fixed` are the arguments of the pipeline's call that its card fixes."""
        parameter = inspect.signature(pipeline.__call__).parameters.get(MOST_TOKENS)
        most = fixed.get(MOST_TOKENS, getattr(parameter, "default", None))
        found = [
            (each, _limit(each, most))
            for name, each in pipeline.components.items()
            if name.startswith(TOKENIZER) and None not in (each, _encoder(pipeline.components, name))
        ]
        known = [(each, limit) for each, limit in found if limit is not None]
        self._tokenizers = known if len(known) == len(found) else []
        """Each tokenizer, with the most tokens that are read of it; none if the limit of one is not known."""
        self._read: dict[str, int] = {}

    def read_chars(self, text: str) -> int | None:
        """Return how many characters of a text are read; None if all are, or if it is not known."""
        if not self._tokenizers:
            return None
        read = self._read.get(text)
        if read is None:
            read = max(_read(tokenizer, limit, text) for tokenizer, limit in self._tokenizers)
        keep_newest(self._read, text, read, REMEMBERED)
        return read if read < len(text) else None


def _encoder(components: Mapping[str, Any], tokenizer: str) -> Any:
    """Return the text encoder of a tokenizer's number; None if there is none, as in Stable Diffusion 3 without T5."""
    return components.get(tokenizer.replace(TOKENIZER, TEXT_ENCODER))


def _limit(tokenizer: Any, most: Any) -> int | None:
    """Return how many tokens of a tokenizer are read; `most` is the argument of the call. None if it is not known."""
    name = type(tokenizer).__name__
    limit = tokenizer.model_max_length if name.startswith(CLIP) else most if name.startswith(T5) else None
    return limit if isinstance(limit, int) and limit <= LONGEST else None


def _read(tokenizer: Any, limit: int, text: str) -> int:
    """Return how many characters of a text make up at most this many tokens."""
    if len(text.encode()) + MARKS <= limit:  # a token has at least one byte
        return len(text)
    if _count(tokenizer, text, len(text)) <= limit:
        return len(text)
    return len(text[: bisect_right(range(1, len(text)), limit, key=partial(_count, tokenizer, text))].rstrip())


def _count(tokenizer: Any, text: str, chars: int) -> int:
    return len(tokenizer(text[:chars], truncation=False, verbose=False).input_ids)


def limit_texts(components: Mapping[str, Any]) -> None:
    """Give each tokenizer without a limit that of the text encoder of the same number, if that has one."""
    for name, tokenizer in components.items():
        if not name.startswith(TOKENIZER) or getattr(tokenizer, "model_max_length", 0) <= LONGEST:
            continue
        encoder = _encoder(components, name)
        positions = getattr(getattr(encoder, "config", None), "max_position_embeddings", None)
        if isinstance(positions, int):
            tokenizer.model_max_length = positions
