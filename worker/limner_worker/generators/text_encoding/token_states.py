"""A vector for each piece of a word in its context: the first layers of multilingual-e5-small (Wang et al. 2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from limner_worker.generators.text_encoding.e5_file import E5File
from limner_worker.generators.text_encoding.unigram import Piece, Splitter
from limner_worker.networks.word_tagger import LIKENESS

LAYERS: Final = 4
"""Later layers prepare the one vector of the sentence, and tell less of each word."""
MOST_PIECES: Final = 500
"""The network has 512 positions; of a longer text, the first pieces are read."""
_PREFIX: Final = "query:"
"""What the network was trained with before each text."""


class _Layer(nn.Module):
    """A transformer layer with norms after each half, as in BERT."""

    def __init__(self, file: E5File, number: int) -> None:
        super().__init__()
        width, inner = file.shape.width, file.shape.inner
        self.heads = file.shape.heads
        sizes = {"q": (width, width), "k": (width, width), "v": (width, width), "ao": (width, width)}
        for name, (rows, columns) in (sizes | {"fi": (inner, width), "fo": (width, inner)}).items():
            self.register_buffer(f"{name}_w", file.blocks(f"l{number}.{name}.w", rows, columns))
            self.register_buffer(f"{name}_b", file.floats(f"l{number}.{name}.b"))
        for name in ("aln", "oln"):
            norm = nn.LayerNorm(width, file.shape.epsilon)
            norm.load_state_dict(
                {"weight": file.floats(f"l{number}.{name}.w"), "bias": file.floats(f"l{number}.{name}.b")}
            )
            self.add_module(name, norm)

    def forward(self, states: Tensor, there: Tensor) -> Tensor:
        """Return states [B, T, width]; `there` [B, 1, 1, T] says which of them are pieces."""
        query, key, value = (
            self._linear(name, states).reshape(*states.shape[:2], self.heads, -1).transpose(1, 2)
            for name in ("q", "k", "v")
        )
        read = F.scaled_dot_product_attention(query, key, value, attn_mask=there).transpose(1, 2).flatten(2)
        states = self.get_submodule("aln")(states + self._linear("ao", read))
        return self.get_submodule("oln")(states + self._linear("fo", F.gelu(self._linear("fi", states))))

    def _linear(self, name: str, inputs: Tensor) -> Tensor:
        return F.linear(inputs, self.get_buffer(f"{name}_w"), self.get_buffer(f"{name}_b"))


class Read(NamedTuple):
    """The pieces of a text, their embeddings, and their states: float32 [pieces, 384] each."""

    pieces: list[Piece]
    embedded: Tensor
    states: Tensor


class TokenStates:
    """The first layers of the network, in float32 (28 MB), and the splitter into pieces."""

    def __init__(self, file: E5File, layers: int = LAYERS) -> None:
        self._file = file
        pieces = file.pieces()
        self._split = Splitter(pieces)
        self._ends = pieces.first, pieces.last
        self._count = len(pieces.names)
        self._positions = file.floats("emb.pos").reshape(-1, file.shape.width)
        self._kind = file.floats("emb.type")[: file.shape.width]
        self._norm = file.floats("emb.ln.w"), file.floats("emb.ln.b")
        self._layers = [_Layer(file, number).eval() for number in range(layers)]
        self._prefix = [piece.number for piece in self._split(_PREFIX)]

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str]) -> list[Read]:
        """Return what is read of each text."""
        split = [self._split(text)[:MOST_PIECES] if text.strip() else [] for text in texts]
        first, last = self._ends
        rows = [[first, *self._prefix, *(piece.number for piece in pieces), last] for pieces in split]
        longest = max(map(len, rows), default=0)
        there = torch.tensor([[at < len(row) for at in range(longest)] for row in rows])[:, None, None]
        embedded = torch.stack([self._embedded(row, longest) for row in rows]) if rows else torch.empty(0)
        states = embedded
        for layer in self._layers:
            states = layer(states, there)
        found: list[Read] = []
        start = 1 + len(self._prefix)
        for pieces, first_states, last_states in zip(split, embedded, states, strict=True):
            end = start + len(pieces)
            found.append(Read(pieces, first_states[start:end], last_states[start:end]))
        return found

    def _embedded(self, numbers: Sequence[int], longest: int) -> Tensor:
        known = self._file.rows("emb.word", self._count, np.array(numbers))
        summed = known + self._positions[: len(numbers)] + self._kind
        normed = F.layer_norm(summed, summed.shape[-1:], *self._norm, self._file.shape.epsilon)
        return F.pad(normed, (0, 0, 0, longest - len(numbers)))


def likeness(text: Read, other: Read) -> Tensor:
    """Return for each piece of a text how like it is to the piece of another that is most like it: float32 [pieces, 2].

    It is the cosine of their embeddings, and of their states; 0 if the other has no pieces.
    """
    if not other.pieces:
        return torch.zeros(len(text.pieces), LIKENESS)
    pairs = ((text.embedded, other.embedded), (text.states, other.states))
    cosines = (F.normalize(own, dim=-1) @ F.normalize(others, dim=-1).T for own, others in pairs)
    return torch.stack([each.max(-1).values for each in cosines], -1)
