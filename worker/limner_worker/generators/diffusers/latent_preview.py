"""Preview pictures directly from the latents of any VAE by a linear map: rough, but thousands of times cheaper."""

from __future__ import annotations

from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from limner_worker.generators.base import Picture

EXAMPLES: Final = 16
CELLS: Final = 8
"""The width and height of each example, in latent cells."""
LARGEST: Final = 128
"""The largest longer side of a preview, in pixels."""


class LatentPreview:
    """A map from latent cells to colours, fitted by least squares to the VAE's encodings of colour patches.

    Other programs ship such a map for each known VAE; this one is fitted when first needed and therefore fits any VAE.
    """

    def __init__(self, vae: Any) -> None:
        """Fit the map to `vae`, an AutoencoderKL of diffusers; costs one encoding of EXAMPLES small pictures."""
        self._scale = float(vae.config.scaling_factor or 1.0)
        self._shift = float(vae.config.shift_factor or 0.0)
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        """The width of a latent cell in pixels."""
        colours = torch.rand(EXAMPLES, 3, CELLS, CELLS, generator=torch.Generator().manual_seed(0)) * 2 - 1
        patches = F.interpolate(colours, scale_factor=self.factor, mode="nearest").to(vae.device, vae.dtype)
        latents = vae.encode(patches).latent_dist.mode().float().cpu()  # [16, C, 8, 8]
        rows = latents.movedim(1, -1).flatten(0, -2)
        wanted = colours.movedim(1, -1).flatten(0, -2)
        self._map: Tensor = cast("Any", torch.linalg).lstsq(_with_one(rows), wanted).solution  # [C + 1, 3]

    def picture(self, latents: Tensor, width: int, height: int) -> Picture | None:
        """Return a preview of latents [1, C, h, w] or packed [1, tokens, 4 C]; None for any other shape.

        `width` and `height` are the image's, in pixels.
        """
        if latents.ndim == 3:  # noqa: PLR2004 - FLUX and similar models pack patches of 2x2 into tokens
            latents = _unpacked(latents, height // self.factor, width // self.factor)
        if latents.ndim != 4 or latents.shape[1] != len(self._map) - 1:  # noqa: PLR2004 - a video has five dimensions
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
