"""The trained tagger: which words of a description ask, and which say what to draw. Thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch.nn.utils.rnn import pad_sequence

from limner_shared.telemetry import get_logger
from limner_worker.generators.text_encoding.e5_file import E5FileError, installed
from limner_worker.generators.text_encoding.token_states import TokenStates
from limner_worker.networks.weights import SHIPPED, WeightsError, load_module
from limner_worker.networks.word_tagger import ROLES, WordTagger
from limner_worker.stages.interpretation.tagging.asking_words import Tagged

log = get_logger(__name__)

WEIGHTS: Final = SHIPPED / "limner-text" / "tagger.safetensors"
_ASKING, _NUMBER, _NEGATIVE, _LEFT_OUT = map(ROLES.index, ("asking", "number", "negative", "left out"))


class TaggerError(RuntimeError):
    """The tagger's weights or the encoder's file cannot be read."""


class LazyTagger:
    """A tagger that is loaded for the first description: many workers never get one, and it takes 110 MB. For one
    thread. Without its files no word is one of asking.
    """

    def __init__(self, load: Callable[[], Tagger]) -> None:
        self._load = load
        self._tagger: Tagger | None = None
        self._is_missing = False

    def __call__(self, texts: Sequence[str]) -> list[Tagged]:
        """Return each text with the role of its characters."""
        if self._tagger is None and not self._is_missing:
            try:
                self._tagger = self._load()
            except TaggerError as error:
                self._is_missing = True
                log.warning("descriptions are read without the tagger", reason=str(error))
        return [Tagged(text, [0.0] * len(text)) for text in texts] if self._tagger is None else self._tagger(texts)


class Tagger:
    """The encoder's first layers and the network that reads their states."""

    def __init__(self, weights: Path = WEIGHTS) -> None:
        """Load both. Raises TaggerError."""
        try:
            self._network = load_module(WordTagger, weights)
            self._states = TokenStates(installed())
        except (WeightsError, E5FileError) as error:
            raise TaggerError(str(error)) from error

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> list[Tagged]:
        """Return each text with the role of its characters; those that are not read have no role of asking."""
        found: list[Tagged] = []
        read = self._states([_written(text) for text in texts])
        lengths = torch.tensor([max(1, len(pieces)) for pieces, _ in read])
        states = pad_sequence([states if len(states) else torch.zeros(1, 384) for _, states in read], batch_first=True)
        shares = self._network(states, lengths).softmax(-1)
        left_out = shares[..., _LEFT_OUT]
        leaving = shares[..., _NEGATIVE] + left_out
        wanted = torch.stack([shares[..., _ASKING], leaving, left_out, shares[..., _NUMBER]], -1)
        for text, (pieces, _), rows in zip(texts, read, wanted, strict=True):
            of_roles = [[0.0] * len(text) for _ in range(wanted.shape[-1])]
            for piece, row in zip(pieces, cast("Any", rows).tolist(), strict=False):
                for role, share in zip(of_roles, row, strict=True):
                    role[piece.start : piece.end] = [share] * (piece.end - piece.start)
            found.append(Tagged(text, *of_roles))
        return found


def _written(text: str) -> str:
    """Return a text in capitals alone in small letters: the encoder hardly knows its words."""
    small = text.lower()
    return small if text.isupper() and len(small) == len(text) else text
