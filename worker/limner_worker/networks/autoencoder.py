"""The variational autoencoder between 64x64 pictures and 8x8x16 latents."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip; starts as the identity, so that deep stacks train at once."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first_norm = nn.GroupNorm(8, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second_norm = nn.GroupNorm(8, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Features [B, channels, H, W] to features of the same shape."""
        hidden = self.first(F.silu(self.first_norm(features)))
        return features + self.second(F.silu(self.second_norm(hidden)))


class Autoencoder(nn.Module):
    """A VAE (Kingma & Welling 2014) that works at 16x16 and 8x8 only.

    Pixels are folded into channels (pixel unshuffle by 4) before the first convolution and unfolded after the
    last: on a CPU, convolutions with many channels on few places run at twice the speed of the opposite.
    Latents have a buffer of per-channel mean and standard deviation, so that a generator sees unit variance.
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

        `encoder_blocks` counts blocks at 16x16 and then 8x8; `decoder_blocks` at 8x8 and then 16x16.
        """
        super().__init__()
        self.config: dict[str, Any] = {
            "latent_channels": latent_channels,
            "wide": wide,
            "deep": deep,
            "encoder_blocks": list(encoder_blocks),
            "decoder_blocks": list(decoder_blocks),
        }
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(4),
            nn.Conv2d(48, wide, 3, padding=1),
            *(ResidualBlock(wide) for _ in range(encoder_blocks[0])),
            nn.Conv2d(wide, deep, 2, stride=2),
            *(ResidualBlock(deep) for _ in range(encoder_blocks[1])),
            nn.GroupNorm(8, deep),
            nn.SiLU(),
            nn.Conv2d(deep, 2 * latent_channels, 3, padding=1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(latent_channels, deep, 3, padding=1),
            *(ResidualBlock(deep) for _ in range(decoder_blocks[0])),
            nn.Conv2d(deep, 4 * wide, 1),
            nn.PixelShuffle(2),
            *(ResidualBlock(wide) for _ in range(decoder_blocks[1])),
            nn.GroupNorm(8, wide),
            nn.SiLU(),
            nn.Conv2d(wide, 48, 3, padding=1),
            nn.PixelShuffle(4),
        )
        self.register_buffer("latent_mean", torch.zeros(latent_channels))
        self.register_buffer("latent_std", torch.ones(latent_channels))

    def encode(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Turn pictures [B, 3, 64, 64] in [-1, 1] into the latents' mean and log-variance, each [B, 16, 8, 8]."""
        mean, logvar = self.encoder(pictures).chunk(2, dim=1)
        return mean, logvar.clamp(-10.0, 4.0)

    def decode(self, latents: Tensor) -> Tensor:
        """Turn latents [B, 16, 8, 8] (not normalised) into pictures [B, 3, 64, 64], about [-1, 1], not clamped."""
        return self.decoder(latents)

    def normalise(self, latents: Tensor) -> Tensor:
        """Give each channel mean 0 and variance 1 over the training pictures."""
        return (latents - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def denormalise(self, latents: Tensor) -> Tensor:
        """Undo `normalise`."""
        return latents * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
