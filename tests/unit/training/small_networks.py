"""Small networks, pictures and texts for tests of training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from limner_training.data import Drawing
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.gan import GanGenerator

APPLE = Drawing("1f34e", "noto", "red apple", ("fruit", "red"), "Food & Drink")
CAT = Drawing("1f431", "flat", "cat face", ("cat", "pet", "animal"), "Animals & Nature")


def small_autoencoder() -> Autoencoder:
    cast("Any", torch).manual_seed(0)
    return Autoencoder(wide=16, deep=16, encoder_blocks=(1, 1), decoder_blocks=(1, 1))


def small_gan() -> GanGenerator:
    cast("Any", torch).manual_seed(0)
    return GanGenerator(("noto", "flat"), width=16, wide=16, deep=16, blocks=(1, 1), modulation=8)


def one_hot_embeddings(texts: Sequence[str]) -> Tensor:
    """Embed each text as a one-hot vector, float32 [count, 384]."""
    return nn.functional.one_hot(torch.tensor([sum(map(ord, text)) % 384 for text in texts]), 384).float()


def distinct_pictures(count: int) -> np.ndarray:
    """Clearly different pictures: each has a bar at its own place and colour, uint8 [count, 64, 64, 3]."""
    pixels = np.full((count, 64, 64, 3), 255, np.uint8)
    for index, picture in enumerate(pixels):
        picture[:, 16 * index : 16 * index + 16, index % 3] = 0
    return pixels
