"""More tiny random pipelines of further families of diffusers, for `make matrix`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
import transformers
from tests.engine.pipelines import WORDS, clip_text, clip_tokenizer, unet, vae
from tests.engine.tiny_pipelines import TINY, flow, language_tokenizer, movq, qwen_vae
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

t: Any = transformers
d: Any = diffusers


def ovis(folder: Path) -> Any:
    return d.OvisImagePipeline(
        transformer=d.OvisImageTransformer2DModel(
            patch_size=1, in_channels=16, out_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=(4, 4, 8),
        ),
        vae=vae(shift_factor=0.06, scaling_factor=1.5), scheduler=flow(), tokenizer=language_tokenizer(),
        text_encoder=t.Qwen3Model(t.Qwen3Config(**TINY)),
    )  # fmt: skip


def prx(folder: Path) -> Any:
    config = t.T5GemmaModuleConfig(**TINY, layer_types=["full_attention"] * 2, dropout_rate=0.0)
    encoder: Any = T5GemmaEncoder(config)  # of transformers, as published weights name it, and not diffusers' wrapper
    save = encoder.save_pretrained

    def saved(path: str, **more: Any) -> None:
        save(path, **more)
        t.T5GemmaConfig(encoder=config, decoder=config).save_pretrained(path)  # of the whole model, as published

    encoder.save_pretrained = saved
    return d.PRXPipeline(
        transformer=d.PRXTransformer2DModel(
            patch_size=1, in_channels=4, context_in_dim=16, hidden_size=8, mlp_ratio=2.0, num_heads=2, depth=1,
            axes_dim=[2, 2],
        ),
        vae=vae(shift_factor=0.0, scaling_factor=1.0), scheduler=flow(), tokenizer=language_tokenizer(),
        text_encoder=encoder,
    )  # fmt: skip


def prx_pixel(folder: Path) -> Any:
    return d.PRXPixelPipeline(
        transformer=d.PRXTransformer2DModel(
            patch_size=1, in_channels=3, context_in_dim=16, hidden_size=8, mlp_ratio=2.0, num_heads=2, depth=1,
            axes_dim=[2, 2], bottleneck_size=8, resolution_embeds=True,
        ),
        scheduler=flow(), tokenizer=language_tokenizer(), text_encoder=t.Qwen3Model(t.Qwen3Config(**TINY)),
        prompt_max_tokens=16,
    )  # fmt: skip


def _sana_parts(**more: Any) -> dict[str, Any]:
    return {
        "transformer": d.SanaTransformer2DModel(
            patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4,
            num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=16,
            sample_size=32, **more,
        ),
        "vae": d.AutoencoderDC(
            in_channels=3, latent_channels=4, attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"), encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8), encoder_qkv_multiscales=((), (5,)), decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1), decoder_layers_per_block=(1, 1), downsample_block_type="conv",
            upsample_block_type="interpolate", scaling_factor=0.41407,
        ),
        "text_encoder": t.Gemma2Model(t.Gemma2Config(**TINY)), "tokenizer": language_tokenizer(),
    }  # fmt: skip


def sana(folder: Path) -> Any:
    return d.SanaPipeline(**_sana_parts(), scheduler=d.FlowMatchEulerDiscreteScheduler(shift=7.0))


def sana_sprint(folder: Path) -> Any:
    more = {"qk_norm": "rms_norm_across_heads", "guidance_embeds": True}
    return d.SanaSprintPipeline(**_sana_parts(**more), scheduler=d.SCMScheduler())


def stable_cascade(folder: Path) -> Any:
    block = ("SDCascadeResBlock", "SDCascadeTimestepBlock")
    return d.StableCascadeCombinedPipeline(
        tokenizer=clip_tokenizer(folder / "1"), text_encoder=clip_text(projection=True, positions=77),
        decoder=d.StableCascadeUNet(
            in_channels=4, out_channels=4, conditioning_dim=16, block_out_channels=(8, 16), num_attention_heads=(-1, 2),
            down_num_layers_per_block=(1, 1), up_num_layers_per_block=(1, 1), down_blocks_repeat_mappers=(1, 1),
            up_blocks_repeat_mappers=(1, 1), block_types_per_layer=(block, (*block, "SDCascadeAttnBlock")),
            switch_level=None, clip_text_pooled_in_channels=16, dropout=(0.0, 0.0),
        ),
        scheduler=d.DDPMWuerstchenScheduler(), vqgan=_paella(), prior_prior=d.StableCascadeUNet(
            conditioning_dim=16, block_out_channels=(16, 16), num_attention_heads=(2, 2),
            down_num_layers_per_block=(1, 1), up_num_layers_per_block=(1, 1), clip_image_in_channels=16,
            switch_level=(False,), clip_text_in_channels=16, clip_text_pooled_in_channels=16,
        ),
        prior_text_encoder=clip_text(projection=True, positions=77), prior_tokenizer=clip_tokenizer(folder / "2"),
        prior_scheduler=d.DDPMWuerstchenScheduler(), prior_feature_extractor=None, prior_image_encoder=None,
    )  # fmt: skip


def _paella() -> Any:
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel  # noqa: PLC0415

    return PaellaVQModel(bottleneck_blocks=1, num_vq_embeddings=2, embed_dim=16)


def wuerstchen(folder: Path) -> Any:
    from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_diffnext import WuerstchenDiffNeXt  # noqa: PLC0415
    from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_prior import WuerstchenPrior  # noqa: PLC0415

    return d.WuerstchenCombinedPipeline(
        tokenizer=clip_tokenizer(folder / "1"), text_encoder=clip_text(positions=77),
        decoder=WuerstchenDiffNeXt(
            c_cond=16, c_hidden=[16], nhead=[2], blocks=[1], level_config=["CTA"], inject_effnet=[True], clip_embd=16,
        ),
        scheduler=d.DDPMWuerstchenScheduler(), vqgan=_paella(), prior_tokenizer=clip_tokenizer(folder / "2"),
        prior_text_encoder=clip_text(positions=77),
        prior_prior=WuerstchenPrior(c_in=16, c=16, c_cond=16, c_r=64, depth=1, nhead=2),
        prior_scheduler=d.DDPMWuerstchenScheduler(),
    )  # fmt: skip


def _prior() -> dict[str, Any]:
    """The prior of Kandinsky, which turns a text into an image embedding."""
    return {
        "prior_prior": d.PriorTransformer(
            num_attention_heads=2, attention_head_dim=8, embedding_dim=16, num_layers=1, num_embeddings=16,
        ),
        "prior_image_encoder": t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(
            hidden_size=16, image_size=32, projection_dim=16, intermediate_size=16, num_attention_heads=2,
            num_hidden_layers=1, patch_size=16,
        )),
        "prior_text_encoder": clip_text(projection=True),
        "prior_scheduler": d.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=10.0
        ),
        "prior_image_processor": t.CLIPImageProcessor(crop_size=32, size=32),
    }  # fmt: skip


def roberta_tokenizer() -> Any:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    return t.XLMRobertaTokenizer(
        vocab=[*((token, 0.0) for token in special), *((letter, -1.0) for letter in ["▁", *WORDS])]
    )


def kandinsky(folder: Path) -> Any:
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP  # noqa: PLC0415

    config = MCLIPConfig(
        numDims=16, transformerDimensions=16, hidden_size=16, intermediate_size=16, num_attention_heads=2,
        num_hidden_layers=1, vocab_size=200, max_position_embeddings=90,
    )  # fmt: skip
    return d.KandinskyCombinedPipeline(
        text_encoder=MultilingualCLIP(config), tokenizer=roberta_tokenizer(), movq=movq(),
        unet=unet(
            out_channels=8, addition_embed_type="text_image", block_out_channels=(32, 64), norm_num_groups=8,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"), encoder_hid_dim=16,
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"), cross_attention_dim=16,
            mid_block_type="UNetMidBlock2DSimpleCrossAttn", encoder_hid_dim_type="text_image_proj",
            resnet_time_scale_shift="scale_shift",
        ),
        scheduler=d.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        prior_tokenizer=clip_tokenizer(folder), **_prior(),
    )  # fmt: skip


def stable_unclip(folder: Path) -> Any:
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import StableUnCLIPImageNormalizer  # noqa: PLC0415

    return d.StableUnCLIPPipeline(
        prior_tokenizer=clip_tokenizer(folder / "1"), prior_text_encoder=clip_text(projection=True),
        prior=_prior()["prior_prior"], image_normalizer=StableUnCLIPImageNormalizer(embedding_dim=16),
        prior_scheduler=d.DDPMScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0,
            beta_schedule="squaredcos_cap_v2",
        ),
        image_noising_scheduler=d.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        tokenizer=clip_tokenizer(folder / "2"), text_encoder=clip_text(), vae=vae(),
        unet=unet(class_embed_type="projection", projection_class_embeddings_input_dim=32),
        scheduler=d.DDIMScheduler(set_alpha_to_one=False, steps_offset=1, clip_sample=False),
    )  # fmt: skip


def krea_2(folder: Path) -> Any:
    config = t.Qwen3VLConfig(
        text_config={
            **TINY, "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e6},
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
    )  # fmt: skip
    return d.Krea2Pipeline(
        scheduler=d.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, max_image_seq_len=6400), vae=qwen_vae(),
        text_encoder=t.Qwen3VLModel(config), tokenizer=language_tokenizer(), text_encoder_select_layers=[0, 1, 2],
        transformer=d.Krea2Transformer2DModel(
            in_channels=16, num_layers=1, attention_head_dim=8, num_attention_heads=4, num_key_value_heads=2,
            intermediate_size=32, timestep_embed_dim=8, text_hidden_dim=16, num_text_layers=3,
            text_num_attention_heads=2, text_num_key_value_heads=1, text_intermediate_size=16,
            num_layerwise_text_blocks=1, num_refiner_text_blocks=1, axes_dims_rope=(4, 2, 2), rope_theta=1000.0,
        ),
    )  # fmt: skip


def flux_2_vae() -> Any:
    return d.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, sample_size=32,
        block_out_channels=(8, 8), layers_per_block=1, latent_channels=4, norm_num_groups=1,
    )  # fmt: skip


def ernie(folder: Path) -> Any:
    return d.ErnieImagePipeline(
        transformer=d.ErnieImageTransformer2DModel(
            hidden_size=32, num_attention_heads=2, num_layers=1, ffn_hidden_size=32, in_channels=16, out_channels=16,
            patch_size=1, text_in_dim=16, rope_axes_dim=(8, 4, 4),
        ),
        vae=flux_2_vae(), text_encoder=t.MistralModel(t.MistralConfig(**TINY)), tokenizer=language_tokenizer(),
        scheduler=flow(),
    )  # fmt: skip


def ideogram(folder: Path) -> Any:
    def denoiser() -> Any:
        return d.Ideogram4Transformer2DModel(
            in_channels=16, num_layers=1, attention_head_dim=16, num_attention_heads=2, intermediate_size=32,
            adaln_dim=16, llm_features_dim=16 * 13, mrope_section=(4, 2, 2),
        )  # fmt: skip

    config = t.Qwen3VLConfig(
        text_config={
            **TINY, "num_hidden_layers": 36,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 1e6},
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
    )  # fmt: skip
    return d.Ideogram4Pipeline(
        scheduler=flow(), vae=flux_2_vae(), text_encoder=t.Qwen3VLModel(config), tokenizer=language_tokenizer(),
        transformer=denoiser(), unconditional_transformer=denoiser(),
    )  # fmt: skip


BUILDERS: Final[dict[str, Callable[[Path], Any]]] = {
    "ErnieImagePipeline": ernie,
    "Ideogram4Pipeline": ideogram,
    "KandinskyCombinedPipeline": kandinsky,
    "Krea2Pipeline": krea_2,
    "OvisImagePipeline": ovis,
    "PRXPipeline": prx,
    "PRXPixelPipeline": prx_pixel,
    "SanaPipeline": sana,
    "SanaSprintPipeline": sana_sprint,
    "StableCascadeCombinedPipeline": stable_cascade,
    "StableUnCLIPPipeline": stable_unclip,
    "WuerstchenCombinedPipeline": wuerstchen,
}
SHORT: Final = {"max_sequence_length": 32}
PLAIN: Final = {"complex_human_instruction": None, "use_resolution_binning": False, **SHORT}
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "ideogram": {"max_sequence_length": 64}, "krea_2": SHORT, "ovis": SHORT, "prx": {"use_resolution_binning": False},
    "prx_pixel": {"use_resolution_binning": False}, "sana": PLAIN, "sana_sprint": PLAIN,
}  # fmt: skip
"""Arguments of the calls, by builder."""
SIZES: Final[dict[str, list[tuple[int, int]]]] = {"hidream": [(32, 32), (64, 16)]}
"""Sizes other than 32x32 and 64x32, by builder."""
