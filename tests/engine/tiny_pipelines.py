"""Tiny random pipelines of further families of diffusers, for `make matrix`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
import transformers
from tests.engine import odd_pipelines
from tests.engine.pipelines import clip_text, clip_tokenizer, fast_tokenizer, flux, like, t5, t5_tokenizer, vae
from tokenizers import processors

t: Any = transformers
d: Any = diffusers
flux_2, kandinsky_22 = odd_pipelines.flux_2, odd_pipelines.kandinsky_22
TINY: Final[dict[str, Any]] = {
    "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 200,
}  # fmt: skip
"""A tiny language model."""
LLAMA: Final = {"vocab_size": 128_256}
"""Texts without a word are a token of Llama's vocabulary."""


def flow() -> Any:
    return d.FlowMatchEulerDiscreteScheduler()


def language_tokenizer() -> Any:
    """Return a tokenizer for a language model, with a chat template."""
    tokenizer = fast_tokenizer(t.Qwen2TokenizerFast, model_max_length=64)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return tokenizer


def ended_tokenizer() -> Any:
    """Return a tokenizer for a language model that ends each text with a token, so that no text is empty."""
    tokenizer = language_tokenizer()
    end = tokenizer.convert_tokens_to_ids("</s>")
    inner = tokenizer.backend_tokenizer
    inner.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", end)])
    return tokenizer


def qwen_vae() -> Any:
    return d.AutoencoderKLQwenImage(
        base_dim=24, z_dim=4, dim_mult=[1, 2, 4], num_res_blocks=1, temperal_downsample=[False, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip


def flux_with_more_channels(folder: Path) -> Any:
    """FLUX whose denoiser takes the latents of a control picture beside its own."""
    pipeline = flux(folder)
    pipeline.register_modules(transformer=like(pipeline.transformer, in_channels=32, out_channels=16))
    return pipeline


def aura_flow(folder: Path) -> Any:
    config = t.UMT5Config(vocab_size=200, d_model=16, d_kv=8, d_ff=32, num_heads=2, num_layers=1)
    return d.AuraFlowPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t.UMT5EncoderModel(config), vae=vae(), scheduler=flow(),
        transformer=d.AuraFlowTransformer2DModel(
            sample_size=32, patch_size=2, in_channels=4, num_mmdit_layers=1, num_single_dit_layers=1,
            attention_head_dim=8, num_attention_heads=2, joint_attention_dim=16, caption_projection_dim=16,
            out_channels=4, pos_embed_max_size=256,
        ),
    )  # fmt: skip


def amused(folder: Path) -> Any:
    return d.AmusedPipeline(
        vqvae=d.VQModel(
            block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, layers_per_block=1,
            up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=8, norm_num_groups=4, num_vq_embeddings=32,
            lookup_from_codebook=True,
        ),
        tokenizer=clip_tokenizer(folder), text_encoder=clip_text(projection=True),
        transformer=d.UVit2DModel(
            hidden_size=16, cond_embed_dim=16, micro_cond_encode_dim=4, micro_cond_embed_dim=20, encoder_hidden_size=16,
            vocab_size=33, codebook_size=32, in_channels=16, block_out_channels=16, num_res_blocks=1,
            block_num_heads=2, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, sample_size=16,
        ),
        scheduler=d.AmusedScheduler(mask_token_id=32),
    )  # fmt: skip


def bria(folder: Path) -> Any:
    return d.BriaPipeline(
        transformer=d.BriaTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8,
            num_attention_heads=2, joint_attention_dim=16, pooled_projection_dim=None, axes_dims_rope=[0, 4, 4],
        ),
        scheduler=flow(), vae=vae(shift_factor=0.0), text_encoder=t5(16), tokenizer=t5_tokenizer(),
    )  # fmt: skip


def bria_fibo(folder: Path) -> Any:
    return d.BriaFiboPipeline(
        transformer=d.BriaFiboTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=8,
            num_attention_heads=2, joint_attention_dim=32, text_encoder_dim=16, pooled_projection_dim=None,
            axes_dims_rope=[0, 4, 4],
        ),
        scheduler=flow(), text_encoder=t.SmolLM3ForCausalLM(t.SmolLM3Config(**TINY | LLAMA, pad_token_id=0)),
        tokenizer=language_tokenizer(),
        vae=d.AutoencoderKLWan(
            base_dim=8, decoder_base_dim=8, num_res_blocks=1, in_channels=12, out_channels=12, patch_size=2,
            scale_factor_spatial=16, scale_factor_temporal=4, temperal_downsample=[False, True, True], z_dim=16,
        ),
    )  # fmt: skip


def chroma(folder: Path) -> Any:
    return d.ChromaPipeline(
        scheduler=flow(), vae=vae(shift_factor=0.06, scaling_factor=1.5), text_encoder=t5(16),
        tokenizer=t5_tokenizer(),
        transformer=d.ChromaTransformer2DModel(
            patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16,
            num_attention_heads=2, joint_attention_dim=16, axes_dims_rope=[4, 4, 8], approximator_hidden_dim=32,
            approximator_layers=1, approximator_num_channels=16,
        ),
    )  # fmt: skip


def cog_view_3(folder: Path) -> Any:
    return d.CogView3PlusPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5(16), vae=vae(), scheduler=d.CogVideoXDDIMScheduler(),
        transformer=d.CogView3PlusTransformer2DModel(
            patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2, out_channels=4,
            text_embed_dim=16, time_embed_dim=8, condition_dim=2, pos_embed_max_size=32, sample_size=16,
        ),
    )  # fmt: skip


def cog_view_4(folder: Path) -> Any:
    return d.CogView4Pipeline(
        tokenizer=ended_tokenizer(), text_encoder=t.GlmModel(t.GlmConfig(**TINY, pad_token_id=0)), vae=vae(),
        transformer=d.CogView4Transformer2DModel(
            patch_size=2, in_channels=4, num_layers=1, attention_head_dim=8, num_attention_heads=2, out_channels=4,
            text_embed_dim=16, time_embed_dim=8, condition_dim=4, sample_size=16,
        ),
        scheduler=d.FlowMatchEulerDiscreteScheduler(
            base_shift=0.25, max_shift=0.75, base_image_seq_len=256, use_dynamic_shifting=True,
            time_shift_type="linear",
        ),
    )  # fmt: skip


def hidream(folder: Path) -> Any:
    """A pipeline that draws the same area whatever it is asked for: here that of 32x32."""
    start = d.HiDreamImagePipeline.__init__
    if not hasattr(start, "small"):

        @functools.wraps(start)
        def small(self: Any, *args: Any, **kwargs: Any) -> None:
            start(self, *args, **kwargs)
            self.default_sample_size = 16

        vars(small)["small"] = True
        d.HiDreamImagePipeline.__init__ = small
    return d.HiDreamImagePipeline(
        scheduler=flow(), vae=vae(scaling_factor=0.36, shift_factor=0.12),
        text_encoder=clip_text(projection=True, positions=128), tokenizer=clip_tokenizer(folder / "1"),
        text_encoder_2=clip_text(projection=True, positions=128), tokenizer_2=clip_tokenizer(folder / "2"),
        text_encoder_3=t5(16), tokenizer_3=t5_tokenizer(),
        text_encoder_4=t.LlamaForCausalLM(t.LlamaConfig(**TINY, pad_token_id=0)), tokenizer_4=language_tokenizer(),
        transformer=d.HiDreamImageTransformer2DModel(
            patch_size=2, in_channels=4, out_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=8,
            num_attention_heads=2, caption_channels=[16, 16], text_emb_dim=32, num_routed_experts=2,
            num_activated_experts=1, axes_dims_rope=(4, 2, 2), max_resolution=(32, 32), llama_layers=(0, 1),
        ),
    )  # fmt: skip


def hunyuan_dit(folder: Path) -> Any:
    config = t.BertConfig(
        vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=77,
    )  # fmt: skip
    return d.HunyuanDiTPipeline(
        vae=vae(widths=(4, 4, 4, 4)), text_encoder=t.BertModel(config),
        tokenizer=fast_tokenizer(t.BertTokenizerFast, model_max_length=77),
        transformer=d.HunyuanDiT2DModel(
            sample_size=16, num_layers=2, patch_size=2, attention_head_dim=8, num_attention_heads=3, in_channels=4,
            cross_attention_dim=16, cross_attention_dim_t5=16, pooled_projection_dim=16, hidden_size=24,
            activation_fn="gelu-approximate", text_len=77, text_len_t5=256,
        ),
        scheduler=d.DDPMScheduler(), safety_checker=None, feature_extractor=None, requires_safety_checker=False,
        text_encoder_2=t5(16), tokenizer_2=t5_tokenizer(),
    )  # fmt: skip


def deep_floyd(folder: Path) -> Any:
    return d.IFPipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5(16), safety_checker=None, feature_extractor=None, watermarker=None,
        requires_safety_checker=False,
        unet=d.UNet2DConditionModel(
            sample_size=32, layers_per_block=1, block_out_channels=[32, 64], in_channels=3, out_channels=6,
            down_block_types=["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"],
            mid_block_type="UNetMidBlock2DSimpleCrossAttn", cross_attention_dim=32, encoder_hid_dim=16,
            up_block_types=["SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"], attention_head_dim=8,
            addition_embed_type="text", addition_embed_type_num_heads=2, cross_attention_norm="group_norm",
            resnet_time_scale_shift="scale_shift", act_fn="gelu",
        ),
        scheduler=d.DDPMScheduler(
            beta_schedule="squaredcos_cap_v2", thresholding=True, dynamic_thresholding_ratio=0.95,
            sample_max_value=1.0, variance_type="learned_range",
        ),
    )  # fmt: skip


def movq(*widths: int) -> Any:
    more = len(widths) - 2 if widths else 0
    return d.VQModel(
        down_block_types=("DownEncoderBlock2D",) * (1 + more) + ("AttnDownEncoderBlock2D",),
        up_block_types=("AttnUpDecoderBlock2D",) + ("UpDecoderBlock2D",) * (1 + more),
        block_out_channels=widths or (32, 64), latent_channels=4, norm_num_groups=8,
        norm_type="spatial", num_vq_embeddings=12, vq_embed_dim=4,
    )  # fmt: skip


def kandinsky_3(folder: Path) -> Any:
    return d.Kandinsky3Pipeline(
        tokenizer=t5_tokenizer(), text_encoder=t5(16), movq=movq(32, 32, 32, 64),
        unet=d.Kandinsky3UNet(
            in_channels=4, time_embedding_dim=4, groups=2, attention_head_dim=4, layers_per_block=3,
            block_out_channels=(32, 64), cross_attention_dim=4, encoder_hid_dim=16,
        ),
        scheduler=d.DDPMScheduler(beta_schedule="squaredcos_cap_v2", steps_offset=1, clip_sample=True),
    )  # fmt: skip


def lumina(folder: Path) -> Any:
    return d.LuminaPipeline(
        transformer=d.LuminaNextDiT2DModel(
            sample_size=16, patch_size=2, in_channels=4, hidden_size=16, num_layers=1, num_attention_heads=2,
            num_kv_heads=2, multiple_of=16, cross_attention_dim=16, learn_sigma=True, qk_norm=True, scaling_factor=1.0,
        ),
        scheduler=flow(), vae=vae(widths=(4, 4, 4, 4)), text_encoder=t.GemmaForCausalLM(t.GemmaConfig(**TINY)),
        tokenizer=ended_tokenizer(),
    )  # fmt: skip


def lumina_2(folder: Path) -> Any:
    return d.Lumina2Pipeline(
        transformer=d.Lumina2Transformer2DModel(
            sample_size=16, patch_size=2, in_channels=4, hidden_size=16, num_layers=1, num_refiner_layers=1,
            num_attention_heads=2, num_kv_heads=2, multiple_of=16, scaling_factor=1.0, axes_dim_rope=[4, 2, 2],
            axes_lens=[300, 64, 64], cap_feat_dim=16,
        ),
        scheduler=flow(), vae=vae(widths=(4, 4, 4, 4), shift_factor=0.06, scaling_factor=1.5),
        text_encoder=t.Gemma2Model(t.Gemma2Config(**TINY)), tokenizer=language_tokenizer(),
    )  # fmt: skip


BUILDERS: Final[dict[str, Callable[[Path], Any]]] = {
    "AmusedPipeline": amused,
    "AuraFlowPipeline": aura_flow,
    "BriaFiboPipeline": bria_fibo,
    "BriaPipeline": bria,
    "ChromaPipeline": chroma,
    "CogView3PlusPipeline": cog_view_3,
    "CogView4Pipeline": cog_view_4,
    "HiDreamImagePipeline": hidream,
    "HunyuanDiTPipeline": hunyuan_dit,
    "IFPipeline": deep_floyd,
    "Kandinsky3Pipeline": kandinsky_3,
    "Lumina2Pipeline": lumina_2,
    "LuminaPipeline": lumina,
}
SHORT: Final = {"max_sequence_length": 32}
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "aura_flow": SHORT, "bria": SHORT, "chroma": SHORT, "cog_view_3": SHORT, "cog_view_4": SHORT, "hidream": SHORT,
    "hunyuan_dit": {"use_resolution_binning": False}, "lumina": SHORT, "lumina_2": SHORT,
}  # fmt: skip
"""Arguments of the calls, by builder."""
