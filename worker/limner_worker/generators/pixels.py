"""From a network's pictures to the pixels that are delivered."""

from __future__ import annotations

from torch import Tensor

from limner_worker.generators.base import Picture
from limner_worker.networks.upscaler import Upscaler


def to_picture(pixels: Tensor) -> Picture:
    """[3, H, W] in [-1, 1] to uint8 [H, W, 3]."""
    scaled = (pixels.clamp(-1, 1) + 1).mul(127.5).round()
    return scaled.to("cpu", dtype=scaled.dtype).byte().permute(1, 2, 0).contiguous().numpy()


def sized(small: Tensor, width: int, upscaler: Upscaler) -> Picture:
    """A picture [3, 64, 64] in [-1, 1], as it is or four times as large.

    One at a time: a batch gains nothing at 256x256, and only those who ask for it pay.
    """
    return to_picture(small if width == small.shape[-1] else upscaler(small[None])[0])
