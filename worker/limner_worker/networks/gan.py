"""The conditional GAN: a generator that needs one forward pass, and the discriminator that it is trained against."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

from torch import Tensor, nn
from torch.nn import functional as F

NOISE_WIDTH: Final = 128


class ModulatedBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection; the conditioning scales and shifts the first norm.

    Initially the identity.
    """

    def __init__(self, channels: int, conditioning: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second_norm = nn.GroupNorm(8, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulate = nn.Linear(conditioning, 2 * channels)
        for layer in (self.second, self.modulate):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, features: Tensor, conditioning: Tensor) -> Tensor:
        """Map features [B, channels, H, W] and conditioning [B, conditioning] to features of the same shape."""
        scale, shift = self.modulate(conditioning)[:, :, None, None].chunk(2, dim=1)
        hidden = self.first(F.silu(self.first_norm(features) * (1 + scale) + shift))
        return features + self.second(F.silu(self.second_norm(hidden)))


class GanGenerator(nn.Module):
    """Generates a picture from noise, text and style in one pass.

    The mapping has the form of the flow transformer's draft (8x8 positions), and the rest that of the autoencoder's
    decoder. So the training can start from the weights of both, and only has to add sharpness and variety.
    """

    def __init__(
        self,
        styles: Sequence[str] = ("noto", "noto-v1", "flat", "3d"),
        text_width: int = 384,
        width: int = 1024,
        latent_channels: int = 16,
        wide: int = 128,
        deep: int = 176,
        blocks: Sequence[int] = (2, 2),
        modulation: int = 128,
    ) -> None:
        """Build with `wide` channels at 16x16 and `deep` at 8x8; `blocks` are the block counts at 8x8 and 16x16."""
        super().__init__()
        self.config: dict[str, Any] = {
            "styles": list(styles),
            "text_width": text_width,
            "width": width,
            "latent_channels": latent_channels,
            "wide": wide,
            "deep": deep,
            "blocks": list(blocks),
            "modulation": modulation,
        }
        self.styles = tuple(styles)
        self.latent_channels = latent_channels
        self.text = nn.Linear(text_width, width)
        self.style = nn.Embedding(len(styles) + 1, width)
        self.noise = nn.Linear(NOISE_WIDTH, width)
        self.hidden = nn.Linear(width, width)
        self.places = nn.Linear(width, 64 * latent_channels)
        self.bottleneck = nn.Linear(width, modulation)
        self.first = nn.Conv2d(latent_channels, deep, 3, padding=1)
        self.deep = nn.ModuleList(ModulatedBlock(deep, modulation) for _ in range(blocks[0]))
        self.unfold = nn.Conv2d(deep, 4 * wide, 1)
        self.wide = nn.ModuleList(ModulatedBlock(wide, modulation) for _ in range(blocks[1]))
        self.last_norm = nn.GroupNorm(8, wide)
        self.last = nn.Conv2d(wide, 48, 3, padding=1)

    def forward(self, noise: Tensor, text: Tensor, style: Tensor) -> Tensor:
        """Generate from standard normal noise [B, 128], text [B, 384] of unit length and style [B].

        A style is an index into `styles`; `len(styles)` means none. Returns [B, 3, 64, 64] in about [-1, 1], unclamped.
        """
        words = self.text(text * math.sqrt(text.shape[1])) + self.style(style) + self.noise(noise)
        words = words + self.hidden(F.silu(words))
        conditioning = F.silu(self.bottleneck(F.silu(words)))
        features = self.first(self.places(F.silu(words)).unflatten(1, (self.latent_channels, 8, 8)))
        for block in self.deep:
            features = block(features, conditioning)
        features = F.pixel_shuffle(self.unfold(features), 2)
        for block in self.wide:
            features = block(features, conditioning)
        return F.pixel_shuffle(self.last(F.silu(self.last_norm(features))), 4)


class Discriminator(nn.Module):
    """Scores how real a picture is for a text and a style: a projection discriminator (Miyato & Koyama 2018), no norms.

    A picture's features cost one pass, and can then be compared with any number of texts.
    """

    def __init__(self, styles: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, 96, 3, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(96, 192, 4, stride=2, padding=1),
            PlainBlock(192),
            nn.Conv2d(192, 256, 4, stride=2, padding=1),
            PlainBlock(256),
            nn.LeakyReLU(0.2),
            nn.Conv2d(256, 512, 4),
            nn.Flatten(),
            nn.LeakyReLU(0.2),
        )
        self.real = nn.Linear(512, 1)
        self.text = nn.Linear(384, 512)
        self.style = nn.Embedding(styles + 1, 512)

    def look(self, pictures: Tensor) -> Tensor:
        """Map pictures [B, 3, 64, 64] to features [B, 512]."""
        return self.body(pictures).float()

    def judge(self, seen: Tensor, text: Tensor, style: Tensor) -> Tensor:
        """Score features [B, 512] against texts [B, 384] and styles [B]. Returns logits float32 [B]."""
        wanted = self.text(text * math.sqrt(text.shape[1])).float() + self.style(style)
        return self.real(seen).float()[:, 0] + (seen * wanted).mean(1)


class PlainBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection and without norms; initially the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, channels, H, W] to features of the same shape."""
        hidden = self.first(F.leaky_relu(features, 0.2))
        return features + self.second(F.leaky_relu(hidden, 0.2))
