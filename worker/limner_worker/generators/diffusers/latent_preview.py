"""From the latents of any VAE straight to small pictures, by a linear map: rough, and thousands of times cheaper."""

from __future__ import annotations

from typing import Any, Final

import torch
from torch import Tensor
from torch.nn import functional as F

from limner_worker.generators.base import Picture

EXAMPLES: Final = 16
CELLS: Final = 8
"""Of each example's colours, so many across."""
LARGEST: Final = 128
"""Pixels of a preview's longer side at most."""


class Projection:
    """One colour for each cell of the latents, fitted by least squares to what the VAE makes of patches of colour.

    Others ship such a map for each known VAE; this one is measured when it is first needed, and so fits every VAE.
    """

    def __init__(self, vae: Any) -> None:
        """`vae`: an AutoencoderKL of diffusers. Takes a few of its encodings."""
        self._scale = float(vae.config.scaling_factor or 1.0)
        self._shift = float(vae.config.shift_factor or 0.0)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        """Pixels for each cell of the latents, across."""
        colours = torch.rand(EXAMPLES, 3, CELLS, CELLS, generator=torch.Generator().manual_seed(0)) * 2 - 1
        patches = F.interpolate(colours, scale_factor=self.factor, mode="nearest").to(vae.device, vae.dtype)
        latents = vae.encode(patches).latent_dist.mode().float().cpu()  # [16, C, 8, 8]
        rows = latents.movedim(1, -1).flatten(0, -2)
        self._map = torch.linalg.lstsq(_with_one(rows), colours.movedim(1, -1).flatten(0, -2)).solution  # [C + 1, 3]

    def picture(self, latents: Tensor, width: int, height: int) -> Picture | None:
        """Latents [1, C, h, w], or packed as [1, tokens, 4 C], of an image of so many pixels; None for any others."""
        if latents.ndim == 3:  # noqa: PLR2004 - FLUX and its like pack patches of 2x2 into tokens
            latents = _unpacked(latents, height // self.factor, width // self.factor)
        if latents.ndim != 4 or latents.shape[1] != len(self._map) - 1:  # noqa: PLR2004 - a video's have five
            return None
        cells = latents.detach().float().cpu() / self._scale + self._shift
        colours = _with_one(cells.movedim(1, -1)) @ self._map  # [1, h, w, 3]
        scaled = (colours[0].clamp(-1, 1) + 1).mul(127.5).round().to(torch.uint8)
        every = max(1, -(-max(scaled.shape[:2]) // LARGEST))
        return scaled[::every, ::every].contiguous().numpy()


def _with_one(rows: Tensor) -> Tensor:
    return torch.cat([rows, torch.ones_like(rows[..., :1])], dim=-1)


def _unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    patches = tokens.view(len(tokens), height // 2, width // 2, tokens.shape[2] // 4, 2, 2)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(len(tokens), tokens.shape[2] // 4, height, width)
