"""Conversion of a network's pictures to the pixels that are delivered."""

from __future__ import annotations

from torch import Tensor

from limner_worker.networks.upscaler import Upscaler


def to_pixels(picture: Tensor) -> Tensor:
    """Convert [3, H, W] in [-1, 1] to uint8 [H, W, 3] on the same device."""
    return (picture.clamp(-1, 1) + 1).mul(127.5).round().byte().permute(1, 2, 0).contiguous()


def sized(small: Tensor, width: int, upscaler: Upscaler) -> Tensor:
    """Convert a picture [3, 64, 64] in [-1, 1] to uint8 [H, W, 3] of 64x64, or of 256x256 by the upscaler.

    One picture at a time: a batch gains nothing at 256x256, and only the requests for that size pay for it.
    """
    return to_pixels(small if width == small.shape[-1] else upscaler(small[None])[0])
