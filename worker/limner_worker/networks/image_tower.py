"""The evaluator's image tower: maps pictures to the embedding space of texts, and to their style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from limner_worker.networks.autoencoder import ResidualBlock


class Seen(NamedTuple):
    """The tower's outputs for B pictures."""

    concept: Tensor  # float32 [B, 384], unit length: compare it with a text's conditioning by a dot product
    style: Tensor  # float32 [B, styles], logits
    features: Tensor  # float32 [B, 256], for distances between sets of pictures


class ImageTower(nn.Module):
    """A small residual network on 64x64 pictures, trained with the text head like CLIP (Radford et al. 2021)."""

    def __init__(
        self, styles: Sequence[str] = ("noto", "noto-v1", "flat", "3d"), widths: Sequence[int] = (96, 160, 256)
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"styles": list(styles), "widths": list(widths)}
        self.styles = tuple(styles)
        first, second, third = widths
        self.body = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, first, 3, padding=1),
            ResidualBlock(first),
            nn.Conv2d(first, second, 2, stride=2),
            ResidualBlock(second),
            nn.Conv2d(second, third, 2, stride=2),
            ResidualBlock(third),
            nn.GroupNorm(8, third),
            nn.SiLU(),
        )
        # Positions carry information too: the last 4x4 positions are combined by a convolution, not averaged.
        self.gather = nn.Conv2d(third, 256, 4)
        self.concept = nn.Linear(256, 384)
        self.style = nn.Linear(256, len(styles))

    def forward(self, pictures: Tensor) -> Seen:
        """Return the concept, style and features of pictures float32 [B, 3, 64, 64] in [-1, 1]."""
        features = self.gather(self.body(pictures)).flatten(1)
        active = F.silu(features)
        return Seen(F.normalize(self.concept(active).float(), dim=1), self.style(active).float(), features.float())
