"""The network that decides from the encoder's states of a text what its words are for.

The text is a description, or a message about a picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

DESCRIPTION_ROLES: Final = ("subject", "asking", "number", "size", "style", "negative", "left out")
"""What the picture shows; how the person asks, why, and thanks; words that name a condition; and, within those that
leave something out, the thing itself."""
MESSAGE_ROLES: Final = (
    "said", "old", "new", "quality", "gone", "added", "place", "look", "again", "number", "picked", "style", "size",
    "subject",
)  # fmt: skip
"""Of a message about a picture: what asks, or asks for nothing; a thing of the picture, what takes its place, and its
other colour or material; what is taken away, and added; another place, time or weather; how all should look; words for
other pictures, and their number; which picture is chosen; how it is drawn; and the whole of another subject."""
LIKENESS: Final = 2
"""How many numbers tell of a piece of a message how like it is to the picture's prompt."""
_ALIKE: Final = 0.9
"""The likeness above which two pieces are of one word, or nearly so."""


class WordTagger(nn.Module):
    """A bidirectional GRU (Cho et al. 2014) over the states of a text's pieces."""

    def __init__(
        self,
        roles: Sequence[str],
        *,
        width: int = 384,
        inner: int = 96,
        dropped: float = 0.3,
        likened: bool = False,
    ) -> None:
        """With `likened`, it also reads how like each piece is to a prompt."""
        super().__init__()
        self.config = {
            "roles": list(roles), "width": width, "inner": inner, "dropped": dropped, "likened": likened,
        }  # fmt: skip
        self.likened = likened
        self.norm = nn.LayerNorm(width)
        self.narrow = nn.Linear(width, inner)
        self.drop = nn.Dropout(dropped)
        self.read = nn.GRU(inner + 2 * LIKENESS * likened, inner, batch_first=True, bidirectional=True)
        self.decide = nn.Linear(2 * inner, len(roles))

    def forward(self, states: Tensor, lengths: Tensor, likeness: Tensor) -> Tensor:
        """Return logits [B, T, roles] for states [B, T, width], of which the first `lengths` [B] of a row count.

        `likeness` [B, T, LIKENESS] is from -1 to 1.
        """
        inputs = self.drop(torch.relu(self.narrow(self.norm(self.drop(states)))))
        if self.likened:
            alike = (likeness - _ALIKE).clamp(min=0) / (1 - _ALIKE)
            inputs = torch.cat([inputs, likeness, alike], -1)
        packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
        read, _ = pad_packed_sequence(self.read(packed)[0], batch_first=True, total_length=states.shape[1])
        return self.decide(self.drop(read))
