"""Pipelines of true size with random weights, built on the device from their public configurations.

No weights are needed: the time of a step does not depend on their values. The configurations are those of the models'
repositories: stable-diffusion-v1-5, stable-diffusion-xl-base-1.0, stable-diffusion-3.5-medium, FLUX.1-schnell,
FLUX.1-dev and Qwen-Image. The toy pipelines of the tests stand in for them on a CPU.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast
from unittest.mock import patch

import diffusers
import torch
import transformers
from tests.engine import pipelines

from limner_shared.domain.cards import ModelCard
from limner_worker.generators.diffusers.pipeline import DiffusersPipeline

d: Any = diffusers
t: Any = transformers
"""Untyped: their annotations often name one class where many fit."""
CLIP_LENGTH: Final = 77
CACHE_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class Model:
    """A model to measure."""

    build: Callable[[Path], Any]
    """Returns the pipeline, on torch's default device and in its default dtype."""
    toy: str
    """The family of the tests' tiny pipeline that stands in for it on a CPU."""
    sizes: tuple[tuple[int, int], ...]
    steps: int
    """Fewer than in use, where a step takes long."""
    dtype: str = "bfloat16"
    guidance: float = 5.0
    text_length: int | None = None


def _clip(projection: bool = False, *, large: bool = False) -> Any:
    """The text encoder of CLIP ViT-L/14, or with `large` that of OpenCLIP ViT-bigG/14."""
    shape = (1280, 5120, 32, 20, "gelu", 1280) if large else (768, 3072, 12, 12, "quick_gelu", 768)
    width, inner, layers, heads, activation, projected = shape
    config = t.CLIPTextConfig(
        vocab_size=49408, hidden_size=width, intermediate_size=inner, num_hidden_layers=layers,
        num_attention_heads=heads, hidden_act=activation, projection_dim=projected,
        max_position_embeddings=CLIP_LENGTH, bos_token_id=0, eos_token_id=1, pad_token_id=1,
    )  # fmt: skip
    return t.CLIPTextModelWithProjection(config) if projection else t.CLIPTextModel(config)


def _t5() -> Any:
    """The encoder of T5 v1.1 XXL."""
    config = t.T5Config(
        vocab_size=32128, d_model=4096, d_ff=10240, d_kv=64, num_heads=64, num_layers=24,
        feed_forward_proj="gated-gelu", tie_word_embeddings=False,
    )  # fmt: skip
    return t.T5EncoderModel(config)


def _scheduler(kind: Any, **config: Any) -> Any:
    """A scheduler with its tables on the CPU in float32, as one that is read from files."""
    with _defaults("cpu", torch.float32):
        return kind(**config)


def _clip_tokenizer(folder: Path) -> Any:
    tokenizer = pipelines.clip_tokenizer(folder)
    tokenizer.model_max_length = CLIP_LENGTH
    return tokenizer


def _vae(channels: int = 4, **more: Any) -> Any:
    return d.AutoencoderKL(
        block_out_channels=(128, 256, 512, 512), layers_per_block=2, latent_channels=channels,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4, **more,
    )  # fmt: skip


BETAS: Final[dict[str, Any]] = {
    "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1,
}  # fmt: skip


def _sd_15(folder: Path) -> Any:
    return d.StableDiffusionPipeline(
        vae=_vae(sample_size=512), text_encoder=_clip(), tokenizer=_clip_tokenizer(folder),
        unet=d.UNet2DConditionModel(
            sample_size=64, block_out_channels=(320, 640, 1280, 1280), cross_attention_dim=768, attention_head_dim=8,
        ),
        scheduler=_scheduler(d.DDIMScheduler, **BETAS, clip_sample=False, set_alpha_to_one=False),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip


def _sdxl(folder: Path) -> Any:
    return d.StableDiffusionXLPipeline(
        vae=_vae(sample_size=1024, scaling_factor=0.13025, force_upcast=True),
        text_encoder=_clip(), tokenizer=_clip_tokenizer(folder / "1"),
        text_encoder_2=_clip(projection=True, large=True), tokenizer_2=_clip_tokenizer(folder / "2"),
        unet=d.UNet2DConditionModel(
            sample_size=128, block_out_channels=(320, 640, 1280), attention_head_dim=(5, 10, 20),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10), cross_attention_dim=2048, use_linear_projection=True,
            addition_embed_type="text_time", addition_time_embed_dim=256, projection_class_embeddings_input_dim=2816,
        ),
        scheduler=_scheduler(d.EulerDiscreteScheduler, **BETAS, timestep_spacing="leading"),
    )  # fmt: skip


def _sd_35(folder: Path) -> Any:
    return d.StableDiffusion3Pipeline(
        vae=_vae(16, sample_size=1024, scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False,
                 use_post_quant_conv=False),
        text_encoder=_clip(projection=True), tokenizer=_clip_tokenizer(folder / "1"),
        text_encoder_2=_clip(projection=True, large=True), tokenizer_2=_clip_tokenizer(folder / "2"),
        text_encoder_3=_t5(), tokenizer_3=pipelines.t5_tokenizer(),
        transformer=d.SD3Transformer2DModel(
            sample_size=128, patch_size=2, in_channels=16, out_channels=16, num_layers=24, attention_head_dim=64,
            num_attention_heads=24, joint_attention_dim=4096, caption_projection_dim=1536,
            pooled_projection_dim=2048, pos_embed_max_size=384, dual_attention_layers=tuple(range(13)),
            qk_norm="rms_norm",
        ),
        scheduler=_scheduler(d.FlowMatchEulerDiscreteScheduler, shift=3.0),
    )  # fmt: skip


def _flux(folder: Path, *, distilled_guidance: bool) -> Any:
    shifting = {"use_dynamic_shifting": True, "shift": 3.0} if distilled_guidance else {"shift": 1.0}
    return d.FluxPipeline(
        vae=_vae(16, sample_size=1024, scaling_factor=0.3611, shift_factor=0.1159, use_quant_conv=False,
                 use_post_quant_conv=False),
        text_encoder=_clip(), tokenizer=_clip_tokenizer(folder),
        text_encoder_2=_t5(), tokenizer_2=pipelines.t5_tokenizer(),
        transformer=d.FluxTransformer2DModel(guidance_embeds=distilled_guidance),
        scheduler=_scheduler(d.FlowMatchEulerDiscreteScheduler, **shifting),
    )  # fmt: skip


def _flux_schnell(folder: Path) -> Any:
    return _flux(folder, distilled_guidance=False)


def _flux_dev(folder: Path) -> Any:
    return _flux(folder, distilled_guidance=True)


def _qwen_image(folder: Path) -> Any:
    text = t.Qwen2_5_VLConfig(
        text_config={
            "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
            "num_key_value_heads": 4, "vocab_size": 152064,
            "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
        },
        vision_config={"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16,
                       "out_hidden_size": 3584},
    )  # fmt: skip
    return d.QwenImagePipeline(
        vae=d.AutoencoderKLQwenImage(), text_encoder=t.Qwen2_5_VLForConditionalGeneration(text),
        tokenizer=pipelines.fast_tokenizer(t.Qwen2TokenizerFast, model_max_length=2048),
        transformer=d.QwenImageTransformer2DModel(
            in_channels=64, out_channels=16, num_layers=60, attention_head_dim=128, num_attention_heads=24,
            joint_attention_dim=3584, guidance_embeds=False, axes_dims_rope=(16, 56, 56),
        ),
        scheduler=_scheduler(d.FlowMatchEulerDiscreteScheduler, use_dynamic_shifting=True, shift=1.0),
    )  # fmt: skip


MODELS: Final = {
    "sd-1.5": Model(_sd_15, "stable_diffusion", ((512, 512),), 20, "float16", 7.5),
    "sdxl": Model(_sdxl, "stable_diffusion_xl", ((1024, 1024), (512, 512)), 10),
    "sd-3.5-medium": Model(_sd_35, "stable_diffusion_3", ((1024, 1024), (512, 512)), 10, text_length=256),
    "flux-schnell": Model(_flux_schnell, "flux", ((1024, 1024), (512, 512)), 4, guidance=0.0, text_length=256),
    "flux-dev": Model(_flux_dev, "flux", ((1024, 1024),), 8, guidance=3.5, text_length=512),
    "qwen-image": Model(_qwen_image, "qwen_image", ((1024, 1024),), 6, guidance=1.0),
}
TOY_SIZES: Final = ((32, 32), (64, 32))
TOY_STEPS: Final = 4


def card_of(name: str, *, toy: bool, **changes: Any) -> ModelCard:
    """Return the model's card; its folder is given by `source`."""
    model = MODELS[name]
    length = 32 if toy else model.text_length
    takes_length = model.text_length is not None
    steps = TOY_STEPS if toy else model.steps
    fields: dict[str, Any] = {
        "name": name, "title": name, "family": "diffusers", "source": {"folder": "."},
        "sizes": TOY_SIZES if toy else model.sizes, "dtype": "float32" if toy else model.dtype,
        "steps": {"min": 1, "max": 100, "default": steps},
        "guidance": {"min": 0, "max": 20, "default": model.guidance},
        "negative_prompts": not name.startswith("flux"),
        "options": {"arguments": {"max_sequence_length": length}} if takes_length else {},
    }  # fmt: skip
    return ModelCard.model_validate(fields | changes)


def load(name: str, device: str, *, toy: bool, **changes: Any) -> DiffusersPipeline:
    """Build a model and load it as a worker loads a card's pipeline; `changes` are fields of the card."""
    card = card_of(name, toy=toy, **changes)
    with tempfile.TemporaryDirectory(prefix="limner-gpu-") as name_of_folder:
        folder = Path(name_of_folder)
        (folder / "model_index.json").write_text(json.dumps({}))
        card = card.model_copy(update={"source": card.source.model_copy(update={"folder": folder})})

        # The weights exist nowhere, so a pipeline that has just been built takes the place of one read from files.
        def built(*_: Any, **given: Any) -> Any:
            return _built(card, device, toy, given)

        with patch.object(d.DiffusionPipeline, "from_pretrained", built):
            return DiffusersPipeline(card, device, CACHE_BYTES)


def _built(card: ModelCard, device: str, toy: bool, given: dict[str, Any]) -> Any:
    """Return the pipeline with random weights, the same ones each time."""
    cast("Any", torch).manual_seed(0)
    model = MODELS[card.name]
    with tempfile.TemporaryDirectory(prefix="limner-gpu-") as folder:
        if toy:
            pipeline = pipelines.FAMILIES[model.toy](Path(folder))
            pipeline.to(given["dtype"])
        else:
            with _defaults(device, given["dtype"]):
                pipeline = model.build(Path(folder))
    for component in pipeline.components.values():
        if isinstance(component, torch.nn.Module):
            component.eval()
    return pipeline


@contextmanager
def _defaults(device: str, dtype: torch.dtype) -> Iterator[None]:
    """A context in which torch creates weights on the device and in the dtype, without copies."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            yield
    finally:
        torch.set_default_dtype(before)
