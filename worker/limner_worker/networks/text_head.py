"""The layers between a pretrained sentence encoder and the generators: map all languages to one space."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class TextHead(nn.Module):
    """The sum of a perceptron and a linear map, on centred sentence embeddings.

    Trained with the image tower (after CLIP, Radford et al. 2021), and so that the names of one thing in all languages
    are close together and far from those of other things; in an E5 encoder's output (Wang et al. 2024) they are spread.
    """

    mean: Tensor

    def __init__(self, width: int = 384, hidden: int = 1024, dropout: float = 0.1) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"width": width, "hidden": hidden}
        self.register_buffer("mean", torch.zeros(width))
        self.direct = nn.Linear(width, width, bias=False)
        self.hidden = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(dropout)
        self.final = nn.Linear(hidden, width)
        nn.init.eye_(self.direct.weight)
        nn.init.zeros_(self.final.weight)
        nn.init.zeros_(self.final.bias)

    def forward(self, sentences: Tensor) -> Tensor:
        """Map sentence embeddings float32 [B, 384] to conditioning [B, 384], each of unit length."""
        centred = F.normalize(sentences - self.mean, dim=1) * math.sqrt(sentences.shape[1])
        return F.normalize(self.direct(centred) + self.final(self.dropout(F.gelu(self.hidden(centred)))), dim=1)
