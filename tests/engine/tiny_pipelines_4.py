"""Tiny random pipelines of earlier families of diffusers and of stages of others, for `make matrix`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, cast
from unittest import mock

import diffusers
import torch
import transformers
from diffusers.pipelines.deprecated.alt_diffusion.modeling_roberta_series import (
    RobertaSeriesConfig,
    RobertaSeriesModelWithTransformation,
)
from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import UNetFlatConditionModel
from diffusers.pipelines.deprecated.vq_diffusion.pipeline_vq_diffusion import LearnedClassifierFreeSamplingEmbeddings
from diffusers.pipelines.flux.modeling_flux import ReduxImageEncoder
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from tests.engine import odd_pipelines, pipelines, tiny_pipelines, tiny_pipelines_2, tiny_pipelines_3
from tests.engine.pipelines import WORDS, clip_text, clip_tokenizer, t5, t5_tokenizer, unet, vae
from tests.engine.tiny_pipelines import flow
from tests.engine.tiny_pipelines_2 import roberta_tokenizer

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


def cosmos_2(_folder: Path) -> Any:
    """A pipeline that needs a package for its safety checker, whatever its files say."""
    module = sys.modules[d.Cosmos2TextToImagePipeline.__module__]
    with mock.patch.object(module, "CosmosSafetyChecker", return_value=None):
        return d.Cosmos2TextToImagePipeline(
            text_encoder=t5(16), tokenizer=t5_tokenizer(), scheduler=flow(),
            transformer=d.CosmosTransformer3DModel(
                in_channels=16, out_channels=16, num_attention_heads=2, attention_head_dim=16, num_layers=1,
                mlp_ratio=2, text_embed_dim=16, adaln_lora_dim=4, max_size=(4, 32, 32), extra_pos_embed_type=None,
            ),
            vae=d.AutoencoderKLWan(
                base_dim=8, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
            ),
        )  # fmt: skip


def hunyuan_image_refiner(folder: Path) -> Any:
    base = odd_pipelines.hunyuan_image(folder)
    return d.HunyuanImageRefinerPipeline(
        scheduler=flow(), text_encoder=base.text_encoder, tokenizer=base.tokenizer,
        transformer=d.HunyuanImageTransformer2DModel(
            in_channels=16, out_channels=8, num_attention_heads=4, attention_head_dim=8, num_layers=1,
            num_single_layers=1, num_refiner_layers=1, patch_size=(1, 1, 1), text_embed_dim=16, rope_axes_dim=(4, 2, 2),
        ),
        vae=d.AutoencoderKLHunyuanImageRefiner(
            latent_channels=4, block_out_channels=(32, 64, 64, 64), layers_per_block=1, spatial_compression_ratio=8,
            temporal_compression_ratio=2,
        ),
        guider=d.AdaptiveProjectedMixGuidance(),
    )  # fmt: skip


def latent_upscale(folder: Path) -> Any:
    return d.StableDiffusionLatentUpscalePipeline(
        vae=vae(), text_encoder=clip_text(), tokenizer=clip_tokenizer(folder),
        scheduler=d.EulerDiscreteScheduler(prediction_type="sample"),
        unet=unet(in_channels=8, out_channels=5, time_cond_proj_dim=128 + 16),
    )  # fmt: skip


def clip_processor(folder: Path) -> Any:
    return t.CLIPProcessor(image_processor=clip_images(), tokenizer=clip_tokenizer(folder / "processor"))


def safety_checker() -> dict[str, Any]:
    """A checker that finds nothing, and what it needs."""
    config = t.CLIPConfig(projection_dim=16, vision_config=vision().config.to_dict())
    return {"safety_checker": StableDiffusionSafetyChecker(config), "feature_extractor": clip_images()}


def alt_diffusion(folder: Path) -> Any:
    """Stable Diffusion with a text encoder of several languages."""
    parts = pipelines.stable_diffusion(folder).components
    config = RobertaSeriesConfig(
        vocab_size=200, hidden_size=16, project_dim=16, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=90,
    )  # fmt: skip
    more = {"text_encoder": RobertaSeriesModelWithTransformation(config), "tokenizer": roberta_tokenizer()}
    return d.AltDiffusionPipeline(**parts | more, requires_safety_checker=False)


def _versatile_parts(folder: Path) -> dict[str, Any]:
    """A denoiser for pictures and one for texts, and what they need."""
    text_unet = cast("Any", UNetFlatConditionModel)(
        sample_size=16, block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=16, norm_num_groups=4,
        attention_head_dim=4, down_block_types=("DownBlockFlat", "CrossAttnDownBlockFlat"),
        up_block_types=("CrossAttnUpBlockFlat", "UpBlockFlat"),
    )  # fmt: skip
    return {
        "tokenizer": clip_tokenizer(folder), "image_feature_extractor": clip_images(), "vae": vae(),
        "text_unet": text_unet, "text_encoder": clip_text(projection=True), "image_encoder": vision(),
        "image_unet": unet(), "scheduler": d.DDIMScheduler(clip_sample=False, steps_offset=1),
    }  # fmt: skip


def versatile(folder: Path) -> Any:
    return d.VersatileDiffusionDualGuidedPipeline(**_versatile_parts(folder))


def versatile_text(folder: Path) -> Any:
    parts = _versatile_parts(folder)
    names = ("tokenizer", "text_encoder", "image_unet", "text_unet", "vae", "scheduler")
    return d.VersatileDiffusionTextToImagePipeline(**{name: parts[name] for name in names})


def kandinsky_prior(folder: Path) -> Any:
    """A pipeline that turns a prompt into an image embedding, and draws nothing."""
    parts = tiny_pipelines_2.kandinsky(folder).components
    names = ("prior", "image_encoder", "text_encoder", "tokenizer", "scheduler", "image_processor")
    return d.KandinskyPriorPipeline(**{name: parts[f"prior_{name}"] for name in names})


def kandinsky_22_prior(folder: Path) -> Any:
    """A pipeline that turns a prompt into an image embedding, and draws nothing."""
    parts = odd_pipelines.kandinsky_22(folder).components
    names = ("prior", "image_encoder", "text_encoder", "tokenizer", "scheduler", "image_processor")
    return d.KandinskyV22PriorPipeline(**{name: parts[f"prior_{name}"] for name in names})


def redux(folder: Path) -> Any:
    """A pipeline that turns a picture into embeddings, and draws nothing."""
    encoder = t.SiglipVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=32, patch_size=16
    )
    base = pipelines.flux(folder)
    return d.FluxPriorReduxPipeline(
        image_encoder=t.SiglipVisionModel(encoder),
        feature_extractor=t.SiglipImageProcessor(size={"height": 32, "width": 32}),
        image_embedder=ReduxImageEncoder(redux_dim=16, txt_in_features=16), text_encoder=base.text_encoder,
        tokenizer=base.tokenizer, text_encoder_2=base.text_encoder_2, tokenizer_2=base.tokenizer_2,
    )  # fmt: skip


def unclip(folder: Path) -> Any:
    """A pipeline of three stages with a scheduler each."""
    parts = odd_pipelines.kandinsky_22(folder).components

    def enlarging() -> Any:
        return d.UNet2DModel(
            sample_size=64, layers_per_block=1, in_channels=6, out_channels=3, block_out_channels=(32, 64),
            down_block_types=("ResnetDownsampleBlock2D",) * 2, up_block_types=("ResnetUpsampleBlock2D",) * 2,
        )  # fmt: skip

    return d.UnCLIPPipeline(
        prior=parts["prior_prior"], text_encoder=parts["prior_text_encoder"], tokenizer=parts["prior_tokenizer"],
        decoder=unet(
            in_channels=3, out_channels=6, class_embed_type="identity", block_out_channels=(32, 64), norm_num_groups=8,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"), cross_attention_dim=16,
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn", resnet_time_scale_shift="scale_shift",
        ),
        text_proj=UnCLIPTextProjModel(clip_embeddings_dim=16, time_embed_dim=128, cross_attention_dim=16),
        super_res_first=enlarging(), super_res_last=enlarging(), prior_scheduler=parts["prior_scheduler"],
        decoder_scheduler=d.UnCLIPScheduler(variance_type="learned_range", prediction_type="epsilon"),
        super_res_scheduler=d.UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="epsilon"),
    )  # fmt: skip


def vq_diffusion(folder: Path) -> Any:
    """A pipeline whose latents are numbers of entries of a codebook."""
    return d.VQDiffusionPipeline(
        vqvae=d.VQModel(
            block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=1,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4, num_vq_embeddings=12,
        ),
        text_encoder=clip_text(), tokenizer=clip_tokenizer(folder), scheduler=d.VQDiffusionScheduler(12 + 1),
        learned_classifier_free_sampling_embeddings=LearnedClassifierFreeSamplingEmbeddings(learnable=False),
        transformer=d.Transformer2DModel(
            attention_bias=True, cross_attention_dim=16, num_attention_heads=2, attention_head_dim=8, num_layers=1,
            num_vector_embeds=12 + 1, num_embeds_ada_norm=100, sample_size=16, activation_fn="geglu-approximate",
        ),
    )  # fmt: skip


def wuerstchen_prior(folder: Path) -> Any:
    """A pipeline that turns a prompt into an image embedding, and draws nothing."""
    parts = tiny_pipelines_2.wuerstchen(folder).components
    names = ("prior", "text_encoder", "tokenizer", "scheduler")
    return d.WuerstchenPriorPipeline(**{name: parts[f"prior_{name}"] for name in names})


def stable_cascade_prior(folder: Path) -> Any:
    parts = tiny_pipelines_2.stable_cascade(folder).components
    names = ("prior", "text_encoder", "tokenizer", "scheduler")
    return d.StableCascadePriorPipeline(**{name: parts[f"prior_{name}"] for name in names})


def deep_floyd_upscale(folder: Path) -> Any:
    """The second stage of DeepFloyd IF."""
    parts = tiny_pipelines.deep_floyd(folder).components
    config = tiny_pipelines_3.config_of(parts["unet"], in_channels=6, class_embed_type="timestep")
    return d.IFSuperResolutionPipeline(
        **parts | {"unet": d.UNet2DConditionModel.from_config(config)}, requires_safety_checker=False,
        image_noising_scheduler=d.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    )  # fmt: skip


BUILDERS: Final[dict[str, Callable[[Path], Any]]] = {
    "AltDiffusionPipeline": alt_diffusion,
    "Cosmos2TextToImagePipeline": cosmos_2,
    "FluxPriorReduxPipeline": redux,
    "HunyuanImageRefinerPipeline": hunyuan_image_refiner,
    "IFSuperResolutionPipeline": deep_floyd_upscale,
    "KandinskyPriorPipeline": kandinsky_prior,
    "KandinskyV22PriorPipeline": kandinsky_22_prior,
    "StableCascadePriorPipeline": stable_cascade_prior,
    "StableDiffusionLatentUpscalePipeline": latent_upscale,
    "UnCLIPPipeline": unclip,
    "UniDiffuserPipeline": uni_diffuser,
    "VQDiffusionPipeline": vq_diffusion,
    "VersatileDiffusionDualGuidedPipeline": versatile,
    "VersatileDiffusionTextToImagePipeline": versatile_text,
    "WuerstchenPriorPipeline": wuerstchen_prior,
}
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {"cosmos_2": {"max_sequence_length": 32}}
"""Arguments of the calls, by builder."""
SIZES: Final[dict[str, list[tuple[int, int]]]] = {"uni_diffuser": [(32, 32)]}
"""Sizes other than 32x32 and 64x32, by builder. UniDiffuser draws one size."""
