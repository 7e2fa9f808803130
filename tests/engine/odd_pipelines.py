"""Tiny random pipelines that change their shared modules, or whose calls need special treatment to be joined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
import transformers
from tests.engine.pipelines import (
    clip_text,
    clip_tokenizer,
    fast_tokenizer,
    qwen_2_5_vl_config,
    stable_diffusion,
    stable_diffusion_xl,
    trained,
    unet,
    vae,
)

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard

d: Any = diffusers
t: Any = transformers
"""Untyped: their annotations often name one class where many fit."""


def pag(folder: Path) -> Any:
    """A pipeline that replaces attention processors of the denoiser for the duration of a call."""
    return d.StableDiffusionPAGPipeline(
        text_encoder=clip_text(), tokenizer=clip_tokenizer(folder), unet=unet(), vae=vae(),
        scheduler=d.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False, pag_applied_layers="mid",
    )  # fmt: skip


def overflowing(folder: Path) -> Any:
    """SDXL with a VAE that overflows in float16."""
    pipeline = stable_diffusion_xl(folder)
    pipeline.vae.decoder.conv_in.weight.data *= 1e5
    return pipeline


def kandinsky_22(folder: Path) -> Any:
    """A combination of two pipelines that share a scheduler with it."""
    return d.KandinskyV22CombinedPipeline(
        unet=d.UNet2DConditionModel(
            in_channels=4, out_channels=8, addition_embed_type="image", layers_per_block=1,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"), encoder_hid_dim=16,
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), encoder_hid_dim_type="image_proj",
            mid_block_type="UNetMidBlock2DSimpleCrossAttn", block_out_channels=(32, 64), cross_attention_dim=16,
            attention_head_dim=4, resnet_time_scale_shift="scale_shift",
        ),
        scheduler=d.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        movq=d.VQModel(
            block_out_channels=(32, 64), down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
            up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"), latent_channels=4, norm_num_groups=8,
            norm_type="spatial", num_vq_embeddings=12, vq_embed_dim=4,
        ),
        prior_prior=d.PriorTransformer(num_attention_heads=2, attention_head_dim=8, embedding_dim=16, num_layers=1,
            num_embeddings=16),
        prior_image_encoder=t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(
            hidden_size=16, image_size=32, projection_dim=16, intermediate_size=16, num_attention_heads=2,
            num_hidden_layers=1, patch_size=16,
        )),
        prior_text_encoder=clip_text(projection=True), prior_tokenizer=clip_tokenizer(folder),
        prior_scheduler=d.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=10.0
        ),
        prior_image_processor=t.CLIPImageProcessor(crop_size=32, size=32),
    )  # fmt: skip


def hunyuan_image(folder: Path, guider: Any = None) -> Any:
    """A pipeline whose guider keeps state between steps."""
    text = qwen_2_5_vl_config(layers=4, depth=1)
    return d.HunyuanImagePipeline(
        transformer=d.HunyuanImageTransformer2DModel(
            in_channels=4, out_channels=4, num_attention_heads=4, attention_head_dim=8, num_layers=1,
            num_single_layers=1, num_refiner_layers=1, patch_size=(1, 1), text_embed_dim=16, text_embed_2_dim=16,
            rope_axes_dim=(4, 4),
        ),
        vae=d.AutoencoderKLHunyuanImage(
            in_channels=3, out_channels=3, latent_channels=4, block_out_channels=(32, 64, 64, 64), layers_per_block=1,
            scaling_factor=0.476986, spatial_compression_ratio=8, sample_size=32,
        ),
        scheduler=d.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder=t.Qwen2_5_VLForConditionalGeneration(text), tokenizer=fast_tokenizer(t.Qwen2TokenizerFast),
        text_encoder_2=t.T5EncoderModel(
            t.T5Config(d_model=16, d_kv=4, d_ff=16, num_layers=1, num_heads=2, vocab_size=400)
        ),
        tokenizer_2=t.ByT5Tokenizer(),
        guider=guider or d.AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=2),
        ocr_guider=d.AdaptiveProjectedMixGuidance(adaptive_projected_guidance_start_step=3),
    )  # fmt: skip


def flux_2(folder: Path) -> Any:
    """A pipeline whose denoiser uses the positions of the first row for all rows."""
    config = t.Qwen3Config(
        hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2,
        vocab_size=200, max_position_embeddings=512, head_dim=8,
    )  # fmt: skip
    tokenizer = fast_tokenizer(t.Qwen2TokenizerFast)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return d.Flux2KleinPipeline(
        transformer=d.Flux2Transformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, timestep_guidance_channels=256, guidance_embeds=False,
            axes_dims_rope=(4, 4, 4, 4),
        ),
        vae=d.AutoencoderKLFlux2(
            down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, sample_size=32,
            block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=1,
        ),
        text_encoder=t.Qwen3ForCausalLM(config), tokenizer=tokenizer, scheduler=d.FlowMatchEulerDiscreteScheduler(),
        is_distilled=False,
    )  # fmt: skip


def latent_diffusion(folder: Path) -> Any:
    """A pipeline that reads the outputs of its scheduler and denoiser by name."""
    return d.LDMTextToImagePipeline(
        vqvae=vae(widths=(4, 4, 4, 4)), bert=clip_text(positions=77), unet=unet(),
        tokenizer=clip_tokenizer(folder), scheduler=d.DDIMScheduler(clip_sample=False, steps_offset=1),
    )  # fmt: skip


def kandinsky_5(folder: Path) -> Any:
    """A pipeline that returns its picture under an unusual name."""
    text = t.Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
            "num_key_value_heads": 2, "vocab_size": 200,
            "rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
        },
        vision_start_token_id=180, vision_end_token_id=181, image_token_id=183, video_token_id=184,
    )  # fmt: skip
    return d.Kandinsky5T2IPipeline(
        transformer=d.Kandinsky5Transformer3DModel(
            in_visual_dim=4, in_text_dim=16, in_text_dim2=16, time_dim=16, out_visual_dim=4, patch_size=(1, 2, 2),
            model_dim=24, ff_dim=32, num_text_blocks=1, num_visual_blocks=1, axes_dims=(4, 4, 4), visual_cond=False,
        ),
        vae=vae(widths=(4, 4, 4, 4)), text_encoder=t.Qwen2_5_VLForConditionalGeneration(text),
        tokenizer=fast_tokenizer(t.Qwen2TokenizerFast), text_encoder_2=clip_text(positions=77),
        tokenizer_2=clip_tokenizer(folder), scheduler=d.FlowMatchEulerDiscreteScheduler(shift=5.0),
    )  # fmt: skip


def controlnet(folder: Path) -> Any:
    """A pipeline that needs a control picture."""
    parts = stable_diffusion(folder).components
    return d.StableDiffusionControlNetPipeline(
        **parts, requires_safety_checker=False, controlnet=trained(d.ControlNetModel.from_unet(
            parts["unet"], conditioning_embedding_out_channels=(4, 8)
        )),
    )  # fmt: skip


def saved(build: Callable[[Path], Any], folder: Path, **more: Any) -> ModelCard:
    """Save a pipeline with random weights as safetensors, and return a card for it."""
    cast("Any", torch).manual_seed(0)
    build(folder / "tokenizers").save_pretrained(folder / build.__name__, safe_serialization=True)
    return card(folder / build.__name__, **more)


def card(folder: Path, **more: Any) -> ModelCard:
    """Return a card for a saved pipeline."""
    about: dict[str, Any] = {
        "name": "odd",
        "title": "Odd",
        "family": "diffusers",
        "sizes": [(32, 32), (64, 32)],
        "steps": {"min": 1, "max": 50, "default": 3},
        "guidance": {"min": 0, "max": 20, "default": 7.5},
        "buckets": (1, 2, 4),
        "negative_prompts": False,
    }
    return ModelCard.model_validate(about | {"source": Source(folder=folder)} | more)
