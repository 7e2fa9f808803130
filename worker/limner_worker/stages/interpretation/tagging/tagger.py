"""The trained taggers: what the words of a description, or of a message about a picture, are for. Thread-safe."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from limner_shared.telemetry import get_logger
from limner_worker.generators.text_encoding.e5_file import E5FileError, installed
from limner_worker.generators.text_encoding.token_states import TokenStates, likeness
from limner_worker.generators.text_encoding.unigram import Piece
from limner_worker.networks.weights import SHIPPED, WeightsError, load_module
from limner_worker.networks.word_tagger import DESCRIPTION_ROLES, LIKENESS, WordTagger
from limner_worker.stages.interpretation.language.detection import language_or_fallback, sure_language
from limner_worker.stages.interpretation.reading.parts import FollowUp, Part
from limner_worker.stages.interpretation.tagging.asking_words import Tagged
from limner_worker.stages.interpretation.tagging.message_parts import parts_of

log = get_logger(__name__)

WEIGHTS: Final = SHIPPED / "limner-text" / "tagger.safetensors"
FOLLOW_UP_WEIGHTS: Final = SHIPPED / "limner-text" / "follow-ups.safetensors"
_SUBJECT, _ASKING, _NUMBER, _SIZE, _NEGATIVE, _LEFT_OUT = map(
    DESCRIPTION_ROLES.index, ("subject", "asking", "number", "size", "negative", "left out")
)


MOST_OF_PROMPT: Final = 500
"""The characters of a picture's prompt with which a message is compared."""
_NOTHING: Final = torch.zeros(1, 384), torch.zeros(1, LIKENESS)
"""What is read of a text without pieces: networks read no empty rows."""


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

    def parts(self, messages: Sequence[FollowUp]) -> Sequence[list[Part] | None]:
        """Return the parts of each message about a picture; None without the files."""
        tagger = self._loaded()
        return [None] * len(messages) if tagger is None else tagger.parts(messages)

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
            self._descriptions, self._messages = (load_module(WordTagger, path) for path in (weights, follow_ups))
            self._encoder = TokenStates(installed())
        except (WeightsError, E5FileError) as error:
            raise TaggerError(str(error)) from error

    def __call__(self, texts: Sequence[str]) -> list[Tagged]:
        """Return each text with the role of its characters; those that are not read have no role of asking."""
        found: list[Tagged] = []
        for text, shares in zip(
            texts, self._read(self._descriptions, [FollowUp(each, "") for each in texts]), strict=True
        ):
            leaving = [a + b for a, b in zip(shares[_NEGATIVE], shares[_LEFT_OUT], strict=True)]
            number, size, subject = (shares[role] for role in (_NUMBER, _SIZE, _SUBJECT))
            found.append(Tagged(text, shares[_ASKING], leaving, shares[_LEFT_OUT], number, size, subject))
        return found

    def parts(self, messages: Sequence[FollowUp]) -> list[list[Part]]:
        """Return the parts of each message about a picture that have a role; roles are `MESSAGE_ROLES`."""
        return [
            parts_of(message.text, shares, language_or_fallback(message.text, sure_language(message.prompt)))
            for message, shares in zip(messages, self._read(self._messages, messages), strict=True)
        ]

    @torch.inference_mode()
    def _read(self, network: WordTagger, messages: Sequence[FollowUp]) -> list[list[list[float]]]:
        """Return for each text, and for each role, how likely its characters have it; 0 where they are not read."""
        said = [message.text for message in messages]
        shown = [message.prompt[:MOST_OF_PROMPT] for message in messages] if network.likened else []
        read = self._encoder([*map(_written, (*said, *shown))])
        texts, prompts = read[: len(said)], read[len(said) :]
        if network.likened:
            alike = [likeness(text, prompt) for text, prompt in zip(texts, prompts, strict=True)]
        else:
            alike = [torch.zeros(len(text.pieces), LIKENESS) for text in texts]
        rows = [(text.states, each) if text.pieces else _NOTHING for text, each in zip(texts, alike, strict=True)]
        states, likenesses = (pad_sequence(list(some), batch_first=True) for some in zip(*rows, strict=True))
        lengths = torch.tensor([len(state) for state, _ in rows])
        found = zip(messages, texts, network(states, lengths, likenesses), strict=True)
        return [_shares(message.text, text.pieces, logits) for message, text, logits in found]


def _shares(text: str, pieces: Sequence[Piece], logits: Tensor) -> list[list[float]]:
    """Return for each role how likely the characters of a text have it; 0 where they are not read."""
    found = [[0.0] * len(text) for _ in range(logits.shape[-1])]
    rows: list[list[float]] = cast("Any", logits.softmax(-1)).tolist()
    for piece, row in zip(pieces, rows, strict=False):
        for role, share in zip(found, row, strict=True):
            role[piece.start : piece.end] = [share] * (piece.end - piece.start)
    return found


def _written(text: str) -> str:
    """Return a text in capitals alone in small letters: the encoder hardly knows its words."""
    small = text.lower()
    return small if text.isupper() and len(small) == len(text) else text
