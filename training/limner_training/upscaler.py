"""Training task and scores of the upscaler, on original and on reconstructed 64-pixel drawings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from limner_training.autoencoder import picture_loss, psnr, to_tensor
from limner_worker.networks.upscaler import Upscaler

# A crop shows as much detail as a whole drawing at a fraction of the cost; white margins teach little.
CROP: Final = 32


@dataclass
class UpscalerTask:
    """Batches and losses for the upscaler."""

    network: Upscaler
    clean: np.ndarray  # uint8 [N, 64, 64, 3]
    decoded: np.ndarray  # uint8 [N, 64, 64, 3], the same drawings through the autoencoder
    large: np.ndarray  # uint8 [N, 256, 256, 3]
    rows: np.ndarray
    generator: np.random.Generator
    batch: int = 16

    def losses(self) -> tuple[Tensor, int]:
        """Compute the loss of one random batch of crops, and its size; three in four inputs are reconstructions."""
        small = np.empty((self.batch, CROP, CROP, 3), np.uint8)
        large = np.empty((self.batch, 4 * CROP, 4 * CROP, 3), np.uint8)
        for index, row in enumerate(self.generator.choice(self.rows, self.batch)):
            top, left = self.generator.integers(0, 64 - CROP + 1, 2)
            source = self.decoded if self.generator.random() < 0.75 else self.clean
            small[index] = source[row, top : top + CROP, left : left + CROP]
            large[index] = self.large[row, 4 * top : 4 * (top + CROP), 4 * left : 4 * (left + CROP)]
            if self.generator.random() < 0.5:
                small[index], large[index] = small[index, :, ::-1].copy(), large[index, :, ::-1].copy()
        return picture_loss(self.network(to_tensor(small)), to_tensor(large)), self.batch


@torch.no_grad()
def score(network: Upscaler, small: np.ndarray, large: np.ndarray) -> tuple[float, float]:
    """Return the mean PSNR in decibels over images (uint8 [N, 64, 64, 3] and [N, 256, 256, 3]): ours and bicubic's."""
    was_training = network.training
    network.eval()
    ours: list[Tensor] = []
    bicubic: list[Tensor] = []
    for at in range(0, len(small), 16):
        source, target = to_tensor(small[at : at + 16]), to_tensor(large[at : at + 16])
        ours.append(psnr(network(source), target))
        enlarged = F.interpolate(source, scale_factor=4, mode="bicubic", align_corners=False)
        bicubic.append(psnr(enlarged.clamp(-1, 1), target))
    network.train(was_training)
    return float(torch.cat(ours).mean()), float(torch.cat(bicubic).mean())
