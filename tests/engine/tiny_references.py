"""A tiny random IP-Adapter for a tiny pipeline with a UNet, or for FLUX, saved like a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tests.engine.tiny_pipelines_4 import vision

TOKENS = 4
"""How many tokens the adapter makes of each picture: diffusers takes it for granted."""


def save_ip_adapter(denoiser: Any, folder: Path) -> Path:
    """Save an adapter that fits a UNet or FLUX's transformer; return its folder."""
    encoder, config = vision(), denoiser.config
    width = config.joint_attention_dim if "joint_attention_dim" in config else config.cross_attention_dim
    draw = torch.Generator().manual_seed(1)

    def weights(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw)

    tensors = {
        "image_proj.proj.weight": weights(TOKENS * width, encoder.config.projection_dim),
        "image_proj.proj.bias": weights(TOKENS * width),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    if "joint_attention_dim" in config:
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.0.{part}.weight"] = weights(denoiser.inner_dim, width)
            tensors[f"ip_adapter.0.{part}.bias"] = weights(denoiser.inner_dim)
    crossing = [name for name in denoiser.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(crossing):
        attention = denoiser.get_submodule(name.removesuffix(".processor"))
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * number + 1}.{part}.weight"] = weights(attention.inner_dim, width)
    folder.mkdir(parents=True)
    save_file(tensors, folder / "ip_adapter.safetensors")
    encoder.save_pretrained(folder / "image_encoder", safe_serialization=True)
    return folder
