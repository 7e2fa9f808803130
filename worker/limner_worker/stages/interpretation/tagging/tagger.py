"""The trained taggers: what the words of a description, or of a message about a picture, are for. Thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import torch
from torch.nn.utils.rnn import pad_sequence

from limner_shared.telemetry import get_logger
from limner_worker.generators.text_encoding.e5_file import E5FileError, installed
from limner_worker.generators.text_encoding.token_states import TokenStates
from limner_worker.networks.weights import SHIPPED, WeightsError, load_module
from limner_worker.networks.word_tagger import ROLES, WordTagger
from limner_worker.stages.interpretation.language.detection import language_or_fallback
from limner_worker.stages.interpretation.reading.parts import Part
from limner_worker.stages.interpretation.tagging.asking_words import Tagged
from limner_worker.stages.interpretation.tagging.message_parts import parts_of

log = get_logger(__name__)

WEIGHTS: Final = SHIPPED / "limner-text" / "tagger.safetensors"
FOLLOW_UP_WEIGHTS: Final = SHIPPED / "limner-text" / "follow-ups.safetensors"
_ASKING, _NUMBER, _NEGATIVE, _LEFT_OUT = map(ROLES.index, ("asking", "number", "negative", "left out"))


class TaggerError(RuntimeError):
    """The taggers' weights or the encoder's file cannot be read."""


class LazyTagger:
    """Taggers that are loaded for the first text: many workers never get one, and they take 110 MB. For one thread.
    Without their files no word is one of asking, and no message has parts.
    """

    def __init__(self, load: Callable[[], Tagger]) -> None:
        self._load = load
        self._tagger: Tagger | None = None
        self._is_missing = False

    def __call__(self, texts: Sequence[str]) -> list[Tagged]:
        """Return each text with the role of its characters."""
        tagger = self._loaded()
        return [Tagged(text, [0.0] * len(text)) for text in texts] if tagger is None else tagger(texts)

    def parts(self, messages: Sequence[str]) -> list[list[Part]]:
        """Return the parts of each message about a picture."""
        tagger = self._loaded()
        return [[] for _ in messages] if tagger is None else tagger.parts(messages)

    def _loaded(self) -> Tagger | None:
        if self._tagger is None and not self._is_missing:
            try:
                self._tagger = self._load()
            except TaggerError as error:
                self._is_missing = True
                log.warning("descriptions are read without the tagger", reason=str(error))
        return self._tagger


class Tagger:
    """The encoder's first layers and the networks that read their states."""

    def __init__(self, weights: Path = WEIGHTS, follow_ups: Path = FOLLOW_UP_WEIGHTS) -> None:
        """Load all. Raises TaggerError."""
        try:
            self._network = load_module(WordTagger, weights)
            self._follow_ups = load_module(WordTagger, follow_ups)
            self._states = TokenStates(installed())
        except (WeightsError, E5FileError) as error:
            raise TaggerError(str(error)) from error

    def __call__(self, texts: Sequence[str]) -> list[Tagged]:
        """Return each text with the role of its characters; those that are not read have no role of asking."""
        found: list[Tagged] = []
        for text, shares in zip(texts, self._shares(self._network, texts), strict=True):
            left_out = shares[_LEFT_OUT]
            leaving = [a + b for a, b in zip(shares[_NEGATIVE], left_out, strict=True)]
            found.append(Tagged(text, shares[_ASKING], leaving, left_out, shares[_NUMBER]))
        return found

    def parts(self, messages: Sequence[str]) -> list[list[Part]]:
        """Return the parts of each message about a picture that have a role; roles are `FOLLOW_UP_ROLES`."""
        shares = self._shares(self._follow_ups, messages)
        return [parts_of(text, each, language_or_fallback(text)) for text, each in zip(messages, shares, strict=True)]

    @torch.inference_mode()
    def _shares(self, network: WordTagger, texts: Sequence[str]) -> list[list[list[float]]]:
        """Return for each text, and for each role, how likely its characters have it; 0 where they are not read."""
        read = self._states([_written(text) for text in texts])
        lengths = torch.tensor([max(1, len(pieces)) for pieces, _ in read])
        states = pad_sequence([states if len(states) else torch.zeros(1, 384) for _, states in read], batch_first=True)
        found: list[list[list[float]]] = []
        for text, (pieces, _), rows in zip(texts, read, network(states, lengths).softmax(-1), strict=True):
            of_roles = [[0.0] * len(text) for _ in range(rows.shape[-1])]
            for piece, row in zip(pieces, rows.tolist(), strict=False):
                for role, share in zip(of_roles, row, strict=True):
                    role[piece.start : piece.end] = [share] * (piece.end - piece.start)
            found.append(of_roles)
        return found


def _written(text: str) -> str:
    """Return a text in capitals alone in small letters: the encoder hardly knows its words."""
    small = text.lower()
    return small if text.isupper() and len(small) == len(text) else text
