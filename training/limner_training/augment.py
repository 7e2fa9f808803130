"""Random image augmentations that keep the subject; for the discriminator and the image tower, not for generators."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def move(pictures: Tensor, turn: float, zoom: float, shift: float) -> Tensor:
    """Turn, zoom and shift each picture [B, 3, 64, 64] at random; uncovered pixels become white.

    Standard deviations: radians, a share of the size, and a share of half the width.
    """
    count = len(pictures)
    angle, size = turn * torch.randn(count), 1 + zoom * torch.randn(count)
    cosine, sine = size * angle.cos(), size * angle.sin()
    by = shift * torch.randn(count, 2)
    matrix = torch.stack([torch.stack([cosine, -sine, by[:, 0]], 1), torch.stack([sine, cosine, by[:, 1]], 1)], 1)
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    # grid_sample gives 0 outside, so white is made 0 for it.
    return F.grid_sample(pictures - 1, grid, align_corners=False) + 1


def tint(pictures: Tensor, strength: float) -> Tensor:
    """Scale the difference from white at random, per picture and colour channel; white stays white."""
    return 1 - (1 - pictures) * (1 + strength * torch.randn(len(pictures), 3, 1, 1))


def roughen(pictures: Tensor, noise: float) -> Tensor:
    """Blur each picture by up to 3x3 pixels, and add up to `noise` of noise."""
    count = len(pictures)
    blurred = F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, 1)
    softer = torch.lerp(pictures, blurred, torch.rand(count, 1, 1, 1))
    return softer + noise * torch.rand(count, 1, 1, 1) * torch.randn_like(pictures)
