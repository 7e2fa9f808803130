"""The network that decides from the encoder's states of a description, or of a message, what its words are for."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

ROLES: Final = ("subject", "asking", "number", "size", "style", "negative", "left out")
"""What the picture shows; how the person asks, why, and thanks; words that name a condition; and, within those that
leave something out, the thing itself."""
FOLLOW_UP_ROLES: Final = (
    "said", "old", "new", "quality", "gone", "added", "place", "look", "again", "number", "picked", "style", "size",
    "subject",
)  # fmt: skip
"""Of a message about a picture: what asks, or asks for nothing; a thing of the picture, what takes its place, and its
other colour or material; what is taken away, and added; another place, time or weather; how all should look; words for
other pictures, and their number; which picture is chosen; how it is drawn; and the whole of another subject."""


class WordTagger(nn.Module):
    """A bidirectional GRU (Cho et al. 2014) over the states of a text's pieces."""

    def __init__(self, width: int = 384, inner: int = 96, dropped: float = 0.3, roles: int = len(ROLES)) -> None:
        super().__init__()
        self.config = {"width": width, "inner": inner, "dropped": dropped, "roles": roles}
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, inner)
        self.drop = nn.Dropout(dropped)
        self.read = nn.GRU(inner, inner, batch_first=True, bidirectional=True)
        self.decide = nn.Linear(2 * inner, roles)

    def forward(self, states: Tensor, lengths: Tensor) -> Tensor:
        """Return logits [B, T, roles] for states [B, T, width], of which the first `lengths` [B] of a row count."""
        inputs = self.drop(torch.relu(self.narrow(self.norm(self.drop(states)))))
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        read, _ = pad_packed_sequence(self.read(packed)[0], batch_first=True, total_length=states.shape[1])
        return self.decide(self.drop(read))
