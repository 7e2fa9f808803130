"""The transformer that predicts the velocity of latents on the path from noise to data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

DRAFT_NOISE: Final = 0.5
"""Largest standard deviation of the noise that training adds to drafts."""


class Block(nn.Module):
    """Attention and a feed-forward layer, both shifted, scaled and gated by the conditioning (adaLN-zero).

    Queries and keys are normalised (Henry et al. 2020), which keeps attention stable at high learning rates.
    """

    def __init__(self, width: int, heads: int, modulation: int) -> None:
        super().__init__()
        self.heads = heads
        self.modulate = nn.Linear(modulation, 6 * width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.query_norm = nn.RMSNorm(width // heads)
        self.key_norm = nn.RMSNorm(width // heads)
        self.project = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, tokens: Tensor, conditioning: Tensor) -> Tensor:
        """Map tokens [B, T, width] and conditioning [B, modulation] to tokens [B, T, width]."""
        shift, scale, gate, shift2, scale2, gate2 = self.modulate(conditioning)[:, None].chunk(6, dim=-1)
        tokens = tokens + gate * self.attend(_norm(tokens) * (1 + scale) + shift)
        hidden = F.gelu(self.widen(_norm(tokens) * (1 + scale2) + shift2), approximate="tanh")
        return tokens + gate2 * self.narrow(hidden)

    def attend(self, tokens: Tensor) -> Tensor:
        """Return full self-attention over tokens [B, T, width]."""
        parts = self.query_key_value(tokens).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys = _scaled(parts[0], self.query_norm), _scaled(parts[1], self.key_norm)
        mixed = F.scaled_dot_product_attention(queries, keys, parts[2])
        return self.project(mixed.transpose(1, 2).flatten(2))


class Draft(nn.Module):
    """A perceptron that predicts the latents from text and style alone: their mean, which is a blurred picture.

    One pass costs a hundredth of the transformer's, so it learns the layout of drawings early in the training.
    """

    def __init__(self, styles: int = 4, text_width: int = 384, width: int = 1024, outputs: int = 1024) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "styles": styles,
            "text_width": text_width,
            "width": width,
            "outputs": outputs,
        }
        self.text = nn.Linear(text_width, width)
        self.null_text = nn.Parameter(torch.zeros(width))
        self.style = nn.Embedding(styles + 1, width)
        self.hidden = nn.Linear(width, width)
        self.final = nn.Linear(width, outputs)

    def forward(self, text: Tensor, style: Tensor, text_null: Tensor) -> Tensor:
        """Predict the latents [B, outputs] from text [B, 384] (unit length), style [B] and text_null [B]."""
        words = torch.where(text_null[:, None], self.null_text, self.text(text * math.sqrt(text.shape[1])))
        features = words + self.style(style)
        return self.final(F.silu(features + self.hidden(F.silu(features))))


class FlowTransformer(nn.Module):
    """A diffusion transformer (Peebles & Xie 2023) for rectified flow (Liu et al. 2023), on patches of 2x2 latents.

    The conditioning is the sum of time, pooled text and style. It reaches every block through a narrow bottleneck
    (`modulation`): per-block adaLN with a fraction of the parameters. Each token also gets its part of a `Draft`: adaLN
    alone treats all positions alike, and learns the layout slowly.
    """

    def __init__(
        self,
        styles: Sequence[str] = ("noto", "noto-v1", "flat", "3d"),
        latent_channels: int = 16,
        latent_size: int = 8,
        text_width: int = 384,
        width: int = 384,
        depth: int = 5,
        heads: int = 6,
        modulation: int = 192,
        draft_width: int = 1024,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "styles": list(styles),
            "latent_channels": latent_channels,
            "latent_size": latent_size,
            "text_width": text_width,
            "width": width,
            "depth": depth,
            "heads": heads,
            "modulation": modulation,
            "draft_width": draft_width,
        }
        self.styles = tuple(styles)
        self.embed = nn.Linear(4 * latent_channels, width)
        self.position = nn.Parameter(0.02 * torch.randn((latent_size // 2) ** 2, width))
        self.time = nn.Sequential(nn.Linear(128, width), nn.SiLU(), nn.Linear(width, width))
        self.text = nn.Linear(text_width, width)
        self.null_text = nn.Parameter(torch.zeros(text_width))
        self.style = nn.Embedding(len(styles) + 1, width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.draft = Draft(len(styles), text_width, draft_width, latent_size**2 * latent_channels)
        self.embed_draft = nn.Linear(4 * latent_channels, width, bias=False)
        self.bottleneck = nn.Sequential(nn.SiLU(), nn.Linear(width, modulation), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, heads, modulation) for _ in range(depth))
        self.final_modulate = nn.Linear(modulation, 2 * width)
        self.final = nn.Linear(width, 4 * latent_channels)
        for parameter in (*self.final_modulate.parameters(), *self.final.parameters(), self.embed_draft.weight):
            nn.init.zeros_(parameter)

    def forward(self, latents: Tensor, times: Tensor, text: Tensor, style: Tensor, text_null: Tensor) -> Tensor:
        """Predict the velocity dx/dt.

        Args:
            latents: float32 [B, 16, 8, 8], normalised.
            times: float32 [B] in [0, 1]; 0 is noise, 1 is data.
            text: float32 [B, 384], unit length, from the text encoder.
            style: int64 [B], an index into `styles`; `len(styles)` means no style.
            text_null: bool [B]; true where the learned empty text replaces `text`.

        Returns:
            float32 [B, 16, 8, 8]; an Euler step is `latents + dt * velocity`.
        """
        conditioning = self.condition(times, text, style, text_null)
        draft = self.draft(text, style, text_null).view_as(latents)
        if self.training:
            # Drafts of training drawings are better than those of new prompts; noise makes them equally unreliable.
            draft = draft + DRAFT_NOISE * torch.rand(len(draft), 1, 1, 1) * torch.randn_like(draft)
        tokens = self.embed(_patches(latents)) + self.embed_draft(_patches(draft)) + self.position
        for block in self.blocks:
            tokens = block(tokens, conditioning)
        shift, scale = self.final_modulate(conditioning)[:, None].chunk(2, dim=-1)
        velocity = self.final(_norm(tokens) * (1 + scale) + shift)
        side = math.isqrt(velocity.shape[1])
        return F.pixel_shuffle(velocity.transpose(1, 2).unflatten(2, (side, side)), 2)

    def condition(self, times: Tensor, text: Tensor, style: Tensor, text_null: Tensor) -> Tensor:
        """Combine time [B], text [B, 384] and style [B] into one vector per picture: [B, modulation]."""
        # A unit vector of n dimensions has entries of about 1/sqrt(n); layers work best with entries of about 1.
        scaled = torch.where(text_null[:, None], self.null_text, text * math.sqrt(text.shape[1]))
        joined = self.time(sinusoid(times)) + self.text(scaled) + self.style(style)
        return self.bottleneck(joined + self.mix(joined))


def sinusoid(times: Tensor, width: int = 128) -> Tensor:
    """Embed times [B] in [0, 1], in thousandths, as cosines and sines [B, width] (Vaswani et al. 2017)."""
    steps = torch.arange(width // 2, dtype=torch.float32, device=times.device) / (width // 2)
    angles = 1000 * times[:, None].float() * torch.exp(-math.log(10_000) * steps)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def _scaled(tokens: Tensor, norm: nn.RMSNorm) -> Tensor:
    """Apply the norm in the tokens' own precision, which is bfloat16 under autocast."""
    return F.rms_norm(tokens, norm.normalized_shape, norm.weight.to(tokens.dtype), norm.eps)


def _patches(latents: Tensor) -> Tensor:
    return F.pixel_unshuffle(latents, 2).flatten(2).transpose(1, 2)


def _norm(tokens: Tensor) -> Tensor:
    return F.layer_norm(tokens, tokens.shape[-1:], eps=1e-6)
