"""Tiny random pipelines of earlier families of diffusers and of stages of others, for `make matrix`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from tests.engine.pipelines import WORDS, clip_text, clip_tokenizer, vae

t: Any = transformers
d: Any = diffusers


def vision() -> Any:
    """An image encoder of CLIP."""
    config = t.CLIPVisionConfig(
        hidden_size=16, image_size=32, projection_dim=16, intermediate_size=16, num_attention_heads=2,
        num_hidden_layers=1, patch_size=16,
    )  # fmt: skip
    return t.CLIPVisionModelWithProjection(config)


def clip_images() -> Any:
    return t.CLIPImageProcessor(crop_size=32, size=32)


def uni_diffuser(folder: Path) -> Any:
    """A pipeline that takes a picture and negative prompts, and ignores both when there is a prompt."""
    decoder = d.UniDiffuserTextDecoder(
        prefix_length=16, prefix_inner_dim=16, prefix_hidden_dim=16, vocab_size=200, n_positions=32, n_embd=16,
        n_layer=1, n_head=2,
    )  # fmt: skip
    # Safetensors cannot hold the weights that it shares with its embedding.
    decoder.transformer.lm_head.weight = torch.nn.Parameter(decoder.transformer.lm_head.weight.detach().clone())
    words = {word: number for number, word in enumerate([*WORDS, "<|endoftext|>"])}
    return d.UniDiffuserPipeline(
        vae=vae(), text_encoder=clip_text(), image_encoder=vision(), clip_image_processor=clip_images(),
        clip_tokenizer=clip_tokenizer(folder), text_decoder=decoder,
        text_tokenizer=t.GPT2Tokenizer(vocab=words, merges=[]),
        unet=d.UniDiffuserModel(
            text_dim=16, clip_img_dim=16, num_text_tokens=16, num_attention_heads=2, attention_head_dim=8,
            in_channels=4, out_channels=4, num_layers=2, norm_num_groups=1, sample_size=16, patch_size=2,
            activation_fn="gelu", num_embeds_ada_norm=1000,
        ),
        scheduler=d.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
    )  # fmt: skip


BUILDERS: Final[dict[str, Callable[[Path], Any]]] = {"UniDiffuserPipeline": uni_diffuser}
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {}
"""Arguments of the calls, by builder."""
SIZES: Final[dict[str, list[tuple[int, int]]]] = {"uni_diffuser": [(32, 32)]}
"""Sizes other than 32x32 and 64x32, by builder. UniDiffuser draws one size."""
