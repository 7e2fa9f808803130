"""The variational autoencoder between 64x64 pictures and 8x8x16 latents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with a skip connection; initially the identity, so that deep stacks train from the start."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second_norm = nn.GroupNorm(8, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Map features [B, channels, H, W] to features of the same shape."""
        hidden = self.first(F.silu(self.first_norm(features)))
        return features + self.second(F.silu(self.second_norm(hidden)))


class Autoencoder(nn.Module):
    """A VAE (Kingma & Welling 2014) that works at 16x16 and 8x8 only.

    Pixels are folded into channels (pixel unshuffle by 4) before the first convolution and unfolded after the last: on
    a CPU, convolutions with many channels on few positions run at twice the speed of the opposite. Buffers hold the
    latents' mean and standard deviation per channel, so that a generator sees unit variance.
    """

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(
        self,
        latent_channels: int = 16,
        wide: int = 128,
        deep: int = 176,
        encoder_blocks: tuple[int, int] | list[int] = (2, 2),
        decoder_blocks: tuple[int, int] | list[int] = (2, 2),
    ) -> None:
        """Build with `wide` channels at 16x16 and `deep` channels at 8x8.

        `encoder_blocks` are the numbers of blocks at 16x16 and 8x8, `decoder_blocks` those at 8x8 and 16x16.
        """
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_channels": latent_channels,
            "wide": wide,
            "deep": deep,
            "encoder_blocks": list(encoder_blocks),
            "decoder_blocks": list(decoder_blocks),
        }
        self.encoder = _encoder(latent_channels, wide, deep, encoder_blocks)
        self.decoder = _decoder(latent_channels, wide, deep, decoder_blocks)
        self.register_buffer("latent_mean", torch.zeros(latent_channels))
        self.register_buffer("latent_std", torch.ones(latent_channels))

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Encode pictures [B, 3, 64, 64] in [-1, 1] as the latents' mean and log-variance, each [B, 16, 8, 8]."""
        mean, logvar = self.encoder(pictures).chunk(2, dim=1)
        return mean, logvar.clamp(-10.0, 4.0)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode latents [B, 16, 8, 8] (not normalised) to pictures [B, 3, 64, 64] in about [-1, 1], not clamped."""
        return self.decoder(latents)

    def normalise(self, latents: Tensor) -> Tensor:
        """Scale latents so that each channel has mean 0 and variance 1 over the training pictures."""
        return (latents - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def denormalise(self, latents: Tensor) -> Tensor:
        """Undo `normalise`."""
        return latents * self.latent_std[:, None, None] + self.latent_mean[:, None, None]


def _encoder(latent_channels: int, wide: int, deep: int, blocks: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(
        nn.PixelUnshuffle(4),
        nn.Conv2d(48, wide, 3, padding=1),
        *(ResidualBlock(wide) for _ in range(blocks[0])),
        nn.Conv2d(wide, deep, 2, stride=2),
        *(ResidualBlock(deep) for _ in range(blocks[1])),
        nn.GroupNorm(8, deep),
        nn.SiLU(),
        nn.Conv2d(deep, 2 * latent_channels, 3, padding=1),
    )


def _decoder(latent_channels: int, wide: int, deep: int, blocks: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(latent_channels, deep, 3, padding=1),
        *(ResidualBlock(deep) for _ in range(blocks[0])),
        nn.Conv2d(deep, 4 * wide, 1),
        nn.PixelShuffle(2),
        *(ResidualBlock(wide) for _ in range(blocks[1])),
        nn.GroupNorm(8, wide),
        nn.SiLU(),
        nn.Conv2d(wide, 48, 3, padding=1),
        nn.PixelShuffle(4),
    )
