"""Training task, loss and scores of the autoencoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from limner_worker.networks.autoencoder import Autoencoder

# Small enough that the latents keep their information, large enough that their scale stays near 1.
KL_WEIGHT: Final = 1e-3
# The score is the mean PSNR, a mean of logarithms, so plain drawings count as much as detailed ones.
LOG_WEIGHT: Final = 0.05


def to_tensor(pixels: np.ndarray) -> Tensor:
    """uint8 [B, H, W, 3] to float32 [B, 3, H, W] in [-1, 1]."""
    return torch.as_tensor(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2).float().div_(127.5).sub_(1).contiguous()


def picture_loss(output: Tensor, target: Tensor) -> Tensor:
    """L1 + 0.5 MSE + L1 of the horizontal and vertical differences, which keeps edges sharp."""
    error = output - target
    across = (error[..., 1:] - error[..., :-1]).abs().mean()
    down = (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return error.abs().mean() + 0.5 * error.square().mean() + 0.5 * (across + down)


@dataclass
class AutoencoderTask:
    """Batches and losses for an autoencoder."""

    network: Autoencoder
    pixels: np.ndarray  # uint8 [N, 64, 64, 3]
    rows: np.ndarray
    generator: np.random.Generator
    batch: int = 32

    def losses(self) -> tuple[Tensor, int]:
        """Compute the loss of one random augmented batch, and its size."""
        chosen = self.generator.choice(self.rows, self.batch)
        pictures = to_tensor(augment(self.pixels[chosen], self.generator))
        mean, logvar = (part.float() for part in self.network.encode(pictures))
        latents = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
        output = self.network.decode(latents).float()
        squares = (output - pictures).square().mean((1, 2, 3))
        loss = picture_loss(output, pictures) + LOG_WEIGHT * (squares + 1e-5).log().mean()
        return loss + KL_WEIGHT * 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean(), self.batch


def augment(pixels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Flip, move by up to 4 pixels and permute the colours of half of the pictures: uint8 [B, H, W, 3]."""
    result = np.full_like(pixels, 255)
    height, width = pixels.shape[1:3]
    for index, picture in enumerate(pixels):
        down, across = generator.integers(-4, 5, 2)
        moved = picture[max(0, -down) : height - max(0, down), max(0, -across) : width - max(0, across)]
        if generator.random() < 0.5:
            moved = moved[:, ::-1]
        if generator.random() < 0.5:
            moved = moved[..., generator.permutation(3)]
        top, left = max(0, down), max(0, across)
        result[index, top : top + moved.shape[0], left : left + moved.shape[1]] = moved
    return result


@torch.no_grad()
def measure_latents(network: Autoencoder, pixels: np.ndarray, batch: int = 128) -> None:
    """Set the network's per-channel latent mean and standard deviation from pictures (uint8 [N, 64, 64, 3])."""
    means, _ = encode_all(network, pixels, batch)
    network.latent_mean.copy_(means.mean((0, 2, 3)))
    network.latent_std.copy_(means.std((0, 2, 3)))


@torch.no_grad()
def encode_all(network: Autoencoder, pixels: np.ndarray, batch: int = 128) -> tuple[Tensor, Tensor]:
    """Encode pictures (uint8 [N, 64, 64, 3]) into means and log-variances, each float32 [N, 16, 8, 8]."""
    parts = [network.encode(to_tensor(pixels[at : at + batch])) for at in range(0, len(pixels), batch)]
    means, logvars = zip(*parts, strict=True)
    return torch.cat(means), torch.cat(logvars)


@torch.no_grad()
def reconstruct(network: Autoencoder, pixels: np.ndarray, batch: int = 64) -> Tensor:
    """Encode and decode pictures (uint8 [N, 64, 64, 3]): float32 [N, 3, 64, 64], clamped to [-1, 1]."""
    parts = [
        network.decode(network.encode(to_tensor(pixels[at : at + batch]))[0]).clamp(-1, 1)
        for at in range(0, len(pixels), batch)
    ]
    return torch.cat(parts)


def psnr(output: Tensor, target: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in decibels of each picture [B, 3, H, W] in [-1, 1], rounded to 8 bits: [B]."""
    error = ((output - target) * 127.5).round().square().mean((1, 2, 3)).clamp_min(1e-3)
    return 10 * torch.log10(255**2 / error)


def score(network: Autoencoder, pixels: np.ndarray) -> float:
    """Mean PSNR in decibels over pictures (uint8 [N, 64, 64, 3]), encoded without noise."""
    return float(psnr(reconstruct(network, pixels), to_tensor(pixels)).mean())
