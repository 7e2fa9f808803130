"""The fourfold upscaler, from 64x64 to 256x256 pictures."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F


class Upscaler(nn.Module):
    """A stack of convolutions at the small size, then pixel shuffle, added to a bilinear enlargement.

    The architecture is SRVGGNetCompact (Real-ESRGAN, Wang et al. 2021), a third as wide. It is trained on decoded
    latents too, so that it also sharpens what the autoencoder blurs.
    """

    def __init__(self, channels: int = 32, convolutions: int = 10, factor: int = 4) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"channels": channels, "convolutions": convolutions, "factor": factor}
        self.factor = factor
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1), nn.PReLU(channels)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.PReLU(channels)]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(channels, 3 * factor**2, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, pictures: Tensor) -> Tensor:
        """Enlarge pictures float32 [B, 3, H, W] in [-1, 1] to [B, 3, 4H, 4W], clamped to [-1, 1]."""
        plain = F.interpolate(pictures, scale_factor=self.factor, mode="bilinear", align_corners=False)
        detail = F.pixel_shuffle(self.last(self.body(pictures)), self.factor)
        picture = plain + detail
        # During training, a clamp would hide errors outside the range.
        return picture if self.training else picture.clamp(-1, 1)
