"""Tiny random pipelines whose text encoder also sees pictures, for `make matrix`: their processors need torchvision."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from tests.engine import pipelines
from tests.engine.pipelines import fast_tokenizer, like, qwen_2_5_vl_config, vae
from tests.engine.tiny_pipelines import TINY, flow
from tests.engine.tiny_pipelines_2 import flux_2_vae

t: Any = transformers
d: Any = diffusers
MARKS: Final = (
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
    "[IMG]",
    "[IMG_BREAK]",
    "[IMG_END]",
)
TEMPLATE: Final = (
    "{% for message in messages %}{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}"
)
SMALL: Final = {"shortest_edge": 32 * 32, "longest_edge": 64 * 64}
"""The area in which an encoder sees pictures, in pixels."""


def vision_tokenizer(length: int = 2048) -> Any:
    """Return a tokenizer with a token for each letter and for each mark of a picture."""
    tokenizer = fast_tokenizer(t.Qwen2TokenizerFast, model_max_length=length)
    tokenizer.add_tokens(list(MARKS), special_tokens=True)
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def _marks(tokenizer: Any) -> dict[str, int]:
    names = ("vision_start_token_id", "vision_end_token_id", "image_token_id", "video_token_id")
    return {name: tokenizer.convert_tokens_to_ids(mark) for name, mark in zip(names, MARKS, strict=False)}


def qwen_2() -> dict[str, Any]:
    """The tokenizer, processor and encoder of Qwen2.5-VL."""
    tokenizer = vision_tokenizer()
    config = qwen_2_5_vl_config(**_marks(tokenizer))
    processor = t.Qwen2VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(size=SMALL), tokenizer=tokenizer,
        video_processor=t.Qwen2VLVideoProcessor(), chat_template=TEMPLATE,
    )  # fmt: skip
    return {
        "tokenizer": tokenizer,
        "processor": processor,
        "text_encoder": t.Qwen2_5_VLForConditionalGeneration(config),
    }


def qwen_3(layers: int = 2) -> dict[str, Any]:
    """The tokenizer, processor and encoder of Qwen3-VL."""
    tokenizer = vision_tokenizer()
    config = t.Qwen3VLConfig(
        text_config={
            **TINY, "num_hidden_layers": layers,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e6},
        },
        vision_config={
            "depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16,
            "deepstack_visual_indexes": [0],
        },
        **_marks(tokenizer),
    )  # fmt: skip
    processor = t.Qwen3VLProcessor(
        image_processor=t.Qwen2VLImageProcessor(size=SMALL, patch_size=16), tokenizer=tokenizer,
        video_processor=t.Qwen3VLVideoProcessor(), chat_template=TEMPLATE,
    )  # fmt: skip
    return {"tokenizer": tokenizer, "processor": processor, "text_encoder": t.Qwen3VLForConditionalGeneration(config)}


def qwen_edit_vae(*, channels: int = 3) -> Any:
    """A VAE that gives few latents."""
    return d.AutoencoderKLQwenImage(
        base_dim=8, z_dim=4, dim_mult=[1, 1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4, input_channels=channels,
    )  # fmt: skip


def in_small(*classes: Any) -> None:
    """Let classes, which draw a picture with a million pixels whatever they are asked for, do so with 64x64 of them."""
    modules: list[Any] = [sys.modules[cls.__module__] for cls in classes]
    for module in modules:
        original = module.calculate_dimensions
        if not isinstance(original, partial):
            module.calculate_dimensions = partial(_in_small, original)


def _in_small(original: Callable[[int, float], Any], area: int, ratio: float) -> Any:
    return original(area // 256, ratio)


def _qwen_edit(name: str) -> Callable[[Path], Any]:
    def qwen_edit(folder: Path) -> Any:
        in_small(d.QwenImageEditPipeline, d.QwenImageEditInpaintPipeline, d.QwenImageEditPlusPipeline)
        base = pipelines.qwen_image(folder)
        return getattr(d, name)(scheduler=flow(), vae=qwen_edit_vae(), transformer=base.transformer, **qwen_2())

    return qwen_edit


def qwen_layered(folder: Path) -> Any:
    """A pipeline that draws the layers of a picture, each with an opacity."""
    in_small(d.QwenImageLayeredPipeline)
    denoiser = like(pipelines.qwen_image(folder).transformer, use_additional_t_cond=True, use_layer3d_rope=True)
    return d.QwenImageLayeredPipeline(scheduler=flow(), vae=qwen_edit_vae(channels=4), transformer=denoiser, **qwen_2())


def qwen_21(_folder: Path) -> Any:
    parts = qwen_3()
    del parts["tokenizer"]
    return d.QwenImage21Pipeline(
        scheduler=flow(), **parts,
        vae=d.AutoencoderKLQwenImage21(
            base_dim=8, decoder_base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1, 1], num_res_blocks=1,
            temperal_downsample=[False, True, True, True], latents_mean=[0.0] * 16, latents_std=[1.0] * 16,
        ),
        transformer=d.QwenImage21Transformer2DModel(
            patch_size=1, in_channels=16, out_channels=16, num_layers=2, attention_head_dim=16, num_attention_heads=2,
            context_in_dim=16, axes_dims_rope=(8, 4, 4),
        ),
    )  # fmt: skip


def _longcat(name: str) -> Callable[[Path], Any]:
    def longcat(_folder: Path) -> Any:
        if "Edit" in name:
            in_small(getattr(d, name))
        parts = qwen_2()
        parts["text_processor"] = parts.pop("processor")
        return getattr(d, name)(
            scheduler=flow(), vae=vae(16, shift_factor=0.06, scaling_factor=1.5), **parts,
            transformer=d.LongCatImageTransformer2DModel(
                patch_size=1, in_channels=64, num_layers=1, num_single_layers=1, attention_head_dim=16,
                num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=16, axes_dims_rope=[4, 4, 8],
            ),
        )  # fmt: skip

    longcat.__name__ = "longcat_edit" if "Edit" in name else "longcat"
    return longcat


def nucleus(folder: Path) -> Any:
    parts = qwen_3(layers=8)
    del parts["tokenizer"]
    denoiser = d.NucleusMoEImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=5, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=16, axes_dims_rope=(8, 4, 4), num_experts=4, moe_intermediate_dim=16, capacity_factors=2.0,
    )  # fmt: skip
    for parameter in denoiser.parameters():  # its experts have whatever was in memory
        torch.nn.init.normal_(parameter, std=0.1)
    return d.NucleusMoEImagePipeline(
        scheduler=flow(), vae=pipelines.qwen_image(folder).vae, transformer=denoiser, **parts
    )


def flux_2_dev(_folder: Path) -> Any:
    tokenizer = vision_tokenizer(512)
    config = t.Mistral3Config(
        text_config={**TINY, "model_type": "mistral"}, image_token_index=tokenizer.convert_tokens_to_ids("[IMG]"),
        vision_config={
            "model_type": "pixtral", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "head_dim": 8, "image_size": 64, "patch_size": 16,
        },
    )  # fmt: skip
    processor = t.PixtralProcessor(
        image_processor=t.PixtralImageProcessor(), tokenizer=tokenizer, chat_template=TEMPLATE
    )
    return d.Flux2Pipeline(
        scheduler=flow(), vae=flux_2_vae(), tokenizer=processor,
        text_encoder=t.Mistral3ForConditionalGeneration(config),
        transformer=d.Flux2Transformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, timestep_guidance_channels=256, axes_dims_rope=(4, 4, 4, 4),
        ),
    )  # fmt: skip


def _dream_lite(name: str) -> Callable[[Path], Any]:
    def dream_lite(_folder: Path) -> Any:
        kinds = ("DreamLiteCrossAttnNoSelfAttnDownBlock2D", "DreamLiteCrossAttnDownBlock2D")
        return getattr(d, name)(
            scheduler=flow(), **qwen_3(),
            vae=d.AutoencoderTiny(
                encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 1),
                num_decoder_blocks=(1, 1), latent_channels=4,
            ),
            unet=d.DreamLiteUNetModel(
                in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, norm_num_groups=4,
                down_block_types=kinds, up_block_types=("DreamLiteCrossAttnUpBlock2D", "DreamLiteUpBlock2D"),
                cross_attention_dim=16, attention_head_dim=2, encoder_hid_dim=16, encoder_hid_dim_type="text_proj",
                addition_embed_type="time", addition_time_embed_dim=8, projection_class_embeddings_input_dim=16,
            ),
        )  # fmt: skip

    return dream_lite


def omni_gen(_folder: Path) -> Any:
    return d.OmniGenPipeline(
        scheduler=flow(), vae=vae(scaling_factor=0.13, widths=(4, 4, 4, 4)), tokenizer=vision_tokenizer(),
        transformer=d.OmniGenTransformer2DModel(
            in_channels=4, patch_size=2, hidden_size=16, num_attention_heads=2, num_key_value_heads=2,
            intermediate_size=32, num_layers=1, pad_token_id=0, vocab_size=200, max_position_embeddings=1024,
            rope_scaling={"long_factor": [1.0] * 4, "short_factor": [1.0] * 4}, pos_embed_max_size=32,
            time_step_dim=16,
        ),
    )  # fmt: skip


def joy_plus(_folder: Path) -> Any:
    return d.JoyImageEditPlusPipeline(
        scheduler=flow(), **qwen_3(),
        vae=d.AutoencoderKLWan(
            base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        ),
        transformer=d.JoyImageEditPlusTransformer3DModel(
            patch_size=[1, 2, 2], in_channels=16, hidden_size=32, num_attention_heads=2, text_dim=16, num_layers=1,
            rope_dim_list=[4, 4, 8],
        ),
    )  # fmt: skip


def bria_fibo_2(_folder: Path) -> Any:
    parts = qwen_3(layers=36)
    del parts["tokenizer"]
    return d.BriaFibo2Pipeline(
        scheduler=flow(), vae=flux_2_vae(), **parts,
        transformer=d.BriaFibo2Transformer2DModel(
            in_channels=4, patch_size=2, dim=32, n_layers=8, n_refiner_layers=1, n_heads=2, cap_feat_dim=16 * 3,
            injection_layer_ids=(1, 2, 3, 4, 5), perceiver_num_layers=1, min_num_gist_tokens=8, max_num_gist_tokens=16,
            gist_step=8, gist_min_text_len=8, gist_max_text_len=64, axes_dims=(8, 4, 4), axes_lens=(512, 64, 64),
        ),
    )  # fmt: skip


def z_image_omni(folder: Path) -> Any:
    base = pipelines.z_image(folder)
    siglip = t.Siglip2VisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, patch_size=16, num_patches=16
    )
    return d.ZImageOmniPipeline(
        scheduler=flow(), vae=base.vae, text_encoder=base.text_encoder, tokenizer=base.tokenizer,
        transformer=like(base.transformer, siglip_feat_dim=16), siglip=t.Siglip2VisionModel(siglip),
        siglip_processor=t.Siglip2ImageProcessor(patch_size=16, max_num_patches=16),
    )  # fmt: skip


BUILDERS: Final[dict[str, Callable[[Path], Any]]] = {
    "BriaFibo2Pipeline": bria_fibo_2,
    "JoyImageEditPlusPipeline": joy_plus,
    "ZImageOmniPipeline": z_image_omni,
    "DreamLiteMobilePipeline": _dream_lite("DreamLiteMobilePipeline"),
    "DreamLitePipeline": _dream_lite("DreamLitePipeline"),
    "Flux2Pipeline": flux_2_dev,
    "LongCatImageEditPipeline": _longcat("LongCatImageEditPipeline"),
    "LongCatImagePipeline": _longcat("LongCatImagePipeline"),
    "NucleusMoEImagePipeline": nucleus,
    "OmniGenPipeline": omni_gen,
    "QwenImage21Pipeline": qwen_21,
    "QwenImageEditInpaintPipeline": _qwen_edit("QwenImageEditInpaintPipeline"),
    "QwenImageEditPipeline": _qwen_edit("QwenImageEditPipeline"),
    "QwenImageEditPlusPipeline": _qwen_edit("QwenImageEditPlusPipeline"),
    "QwenImageLayeredPipeline": qwen_layered,
}
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "flux_2_dev": {"max_sequence_length": 128, "text_encoder_out_layers": [1]},
    "longcat": {"enable_prompt_rewrite": False}, "qwen_21": {"output_resolution": 64},
}  # fmt: skip
"""Arguments of the calls, by builder."""
SIZES: Final[dict[str, list[tuple[int, int]]]] = {
    "longcat_edit": [(64, 64)],
    "flux_2_dev": [(64, 64), (128, 64)],
}
"""Sizes other than 32x32 and 64x32, by builder."""
