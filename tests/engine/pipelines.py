"""Tiny random pipelines of diffusers, one of each family, built from configs and saved like a user's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import diffusers
import peft
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

d: Any = diffusers
t: Any = transformers
"""Untyped: their annotations often name one class where many fit."""

WORDS = [chr(code) for code in range(33, 127)]


def clip_tokenizer(folder: Path) -> Any:
    """Return a tokenizer with a token for each letter."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = ["<|startoftext|>", "<|endoftext|>", *WORDS, *(letter + "</w>" for letter in WORDS)]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return t.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def fast_tokenizer(kind: Any, **more: Any) -> Any:
    """Return a tokenizer with a token for each letter, for the encoders after CLIP."""
    special = ["<pad>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: index for index, token in enumerate([*special, *WORDS, " ", "\n"])}
    pad, end, unknown, *_ = special
    inner = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    inner.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    return kind(tokenizer_object=inner, pad_token=pad, eos_token=end, unk_token=unknown, **more)


def t5_tokenizer() -> Any:
    """Return a tokenizer with a token for each letter."""
    special = ["<pad>", "</s>", "<unk>"]
    return t.T5TokenizerFast(
        vocab=[*((token, 0.0) for token in special), *((letter, -1.0) for letter in ["▁", *WORDS])]
    )


def clip_text(projection: bool = False, width: int = 16, positions: int = 16) -> Any:
    config = t.CLIPTextConfig(
        vocab_size=200, hidden_size=width, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=positions, bos_token_id=0, eos_token_id=1, pad_token_id=1, projection_dim=width,
    )  # fmt: skip
    return t.CLIPTextModelWithProjection(config) if projection else t.CLIPTextModel(config)


def t5(width: int = 16) -> Any:
    config = t.T5Config(vocab_size=200, d_model=width, d_ff=32, d_kv=8, num_heads=2, num_layers=1)
    return t.T5EncoderModel(config)


def unet(**more: Any) -> Any:
    shape: dict[str, Any] = {
        "sample_size": 16, "block_out_channels": (8, 16), "layers_per_block": 1, "cross_attention_dim": 16,
        "norm_num_groups": 4, "attention_head_dim": 4, "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
    }  # fmt: skip
    return d.UNet2DConditionModel(**shape | more)


def vae(channels: int = 4, *, widths: tuple[int, ...] = (8, 16), **more: Any) -> Any:
    return d.AutoencoderKL(
        block_out_channels=widths, latent_channels=channels, norm_num_groups=4, sample_size=32,
        down_block_types=("DownEncoderBlock2D",) * len(widths), up_block_types=("UpDecoderBlock2D",) * len(widths),
        **more,
    )  # fmt: skip


def like(module: Any, **changes: Any) -> Any:
    """Return a new module of another one's configuration, with changes."""
    config = {name: value for name, value in module.config.items() if not name.startswith("_")}
    return type(module)(**config | changes)


def trained(module: Any) -> Any:
    """Return a module whose weights that begin at zero are random, as those of a control network after its training."""
    for parameter in module.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.5)
    return module


def stable_diffusion(folder: Path) -> Any:
    return d.StableDiffusionPipeline(
        text_encoder=clip_text(), tokenizer=clip_tokenizer(folder), unet=unet(), vae=vae(),
        scheduler=d.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def stable_diffusion_xl(folder: Path) -> Any:
    return d.StableDiffusionXLPipeline(
        text_encoder=clip_text(), tokenizer=clip_tokenizer(folder / "1"), text_encoder_2=clip_text(projection=True),
        tokenizer_2=clip_tokenizer(folder / "2"), vae=vae(), scheduler=d.EulerDiscreteScheduler(),
        unet=unet(
            cross_attention_dim=32, addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16, use_linear_projection=True,
        ),
    )  # fmt: skip


def stable_diffusion_3(folder: Path) -> Any:
    return d.StableDiffusion3Pipeline(
        text_encoder=clip_text(projection=True), tokenizer=clip_tokenizer(folder / "1"),
        text_encoder_2=clip_text(projection=True), tokenizer_2=clip_tokenizer(folder / "2"),
        text_encoder_3=t5(32), tokenizer_3=t5_tokenizer(),
        transformer=d.SD3Transformer2DModel(
            sample_size=16, patch_size=1, in_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=4,
            caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=32, out_channels=16,
        ),
        vae=vae(16, shift_factor=0.06, scaling_factor=1.5), scheduler=d.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def flux(folder: Path) -> Any:
    return d.FluxPipeline(
        text_encoder=clip_text(), tokenizer=clip_tokenizer(folder), text_encoder_2=t5(16),
        tokenizer_2=t5_tokenizer(),
        transformer=d.FluxTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=(4, 4, 8),
            guidance_embeds=True,
        ),
        vae=vae(shift_factor=0.06, scaling_factor=1.5), scheduler=d.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def pixart(folder: Path) -> Any:
    return d.PixArtSigmaPipeline(
        text_encoder=t5(16), tokenizer=t5_tokenizer(), vae=vae(),
        transformer=d.PixArtTransformer2DModel(
            sample_size=32, num_layers=1, patch_size=2, attention_head_dim=8, num_attention_heads=2,
            caption_channels=16, in_channels=4, cross_attention_dim=16, out_channels=8, use_additional_conditions=False,
        ),
        scheduler=d.DPMSolverMultistepScheduler(),
    )  # fmt: skip


def qwen_2_5_vl_config(layers: int = 2, depth: int = 2, **marks: int) -> Any:
    """The configuration of a text encoder that also sees pictures; `marks` are the tokens that stand for these."""
    tokens = ("vision_start_token_id", "vision_end_token_id", "vision_token_id", "image_token_id", "video_token_id")
    return t.Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": layers, "num_attention_heads": 2,
            "num_key_value_heads": 2, "vocab_size": 200,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
        },
        vision_config={
            "depth": depth, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
        },
        **(marks or {name: number for number, name in enumerate(tokens, 180)}),
    )  # fmt: skip


def qwen_image(folder: Path) -> Any:
    text = qwen_2_5_vl_config()
    return d.QwenImagePipeline(
        text_encoder=t.Qwen2_5_VLForConditionalGeneration(text),
        tokenizer=fast_tokenizer(t.Qwen2TokenizerFast, model_max_length=2048),
        transformer=d.QwenImageTransformer2DModel(
            patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=3,
            joint_attention_dim=16, guidance_embeds=False, axes_dims_rope=(8, 4, 4),
        ),
        vae=d.AutoencoderKLQwenImage(
            base_dim=24, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
            latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
        ),
        scheduler=d.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


def z_image(folder: Path) -> Any:
    config = t.Qwen3Config(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=200, max_position_embeddings=512, head_dim=8,
    )  # fmt: skip
    tokenizer = fast_tokenizer(t.Qwen2TokenizerFast)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return d.ZImagePipeline(
        text_encoder=t.Qwen3Model(config), tokenizer=tokenizer,
        transformer=d.ZImageTransformer2DModel(
            all_patch_size=(2,), all_f_patch_size=(1,), in_channels=16, dim=32, n_layers=2, n_refiner_layers=1,
            n_heads=2, n_kv_heads=2, qk_norm=True, cap_feat_dim=16, rope_theta=256.0, t_scale=1000.0,
            axes_dims=[8, 4, 4], axes_lens=[256, 32, 32],
        ),
        vae=vae(16, shift_factor=0.06, scaling_factor=1.5), scheduler=d.FlowMatchEulerDiscreteScheduler(),
    )  # fmt: skip


FAMILIES: dict[str, Callable[[Path], Any]] = {
    build.__name__: build
    for build in (stable_diffusion, stable_diffusion_xl, stable_diffusion_3, flux, pixart, qwen_image, z_image)
}


def save(family: str, folder: Path) -> Path:
    """Build the family's pipeline with random weights, and save it as safetensors."""
    cast("Any", torch).manual_seed(0)
    pipeline = FAMILIES[family](folder / "tokenizers")
    pipeline.save_pretrained(folder / family, safe_serialization=True)
    return folder / family


def save_lora(family: str, folder: Path) -> Path:
    """Save a random LoRA adapter for the family's denoiser, and return its folder."""
    cast("Any", torch).manual_seed(1)
    pipeline = d.DiffusionPipeline.from_pretrained(folder / family)
    pipeline.unet.add_adapter(
        peft.LoraConfig(r=2, lora_alpha=2, init_lora_weights=False, target_modules=["to_q", "to_v"])
    )
    layers = d.utils.convert_state_dict_to_diffusers(cast("Any", peft).get_peft_model_state_dict(pipeline.unet))
    pipeline.save_lora_weights(folder / "lora", unet_lora_layers=layers, safe_serialization=True)
    return folder / "lora"
