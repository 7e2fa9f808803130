"""Tiny random pipelines that edit, enlarge or vary a picture, for `make matrix`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import diffusers
import torch
import transformers
from tests.engine import pipelines, tiny_pipelines_2
from tests.engine.pipelines import WORDS, clip_text, clip_tokenizer, unet, vae

t: Any = transformers
d: Any = diffusers


def _with(base: Callable[[Path], Any], cls: Any, folder: Path, **more: Any) -> Any:
    """A pipeline of a class with the modules of another one, of which some are replaced."""
    takes = inspect.signature(cls.__init__).parameters
    parts = {**base(folder).components, **more}
    return cls(**{name: part for name, part in parts.items() if name in takes})


def config_of(module: Any, **more: Any) -> dict[str, Any]:
    """A module's configuration with changes, also of what it had by default."""
    config = {name: value for name, value in module.config.items() if name != "_use_default_values"}
    return config | more


def flux_fill(folder: Path) -> Any:
    config = config_of(pipelines.flux(folder / "0").transformer, in_channels=48, out_channels=16)
    return _with(pipelines.flux, d.FluxFillPipeline, folder, transformer=d.FluxTransformer2DModel.from_config(config))


def pixart_alpha(folder: Path) -> Any:
    return _with(pipelines.pixart, d.PixArtAlphaPipeline, folder)


def instruct_pix2pix(folder: Path) -> Any:
    cls = d.StableDiffusionInstructPix2PixPipeline
    return _with(pipelines.stable_diffusion, cls, folder, unet=unet(in_channels=8), requires_safety_checker=False)


def instruct_pix2pix_xl(folder: Path) -> Any:
    config = config_of(pipelines.stable_diffusion_xl(folder / "0").unet, in_channels=8)
    cls = d.StableDiffusionXLInstructPix2PixPipeline
    return _with(pipelines.stable_diffusion_xl, cls, folder, unet=d.UNet2DConditionModel.from_config(config))


def depth_to_image(folder: Path) -> Any:
    config = t.DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=16,
        backbone_out_indices=[0, 1, 2, 3], neck_hidden_sizes=[8, 8, 16, 16], fusion_hidden_size=8, is_hybrid=False,
    )  # fmt: skip
    return d.StableDiffusionDepth2ImgPipeline(
        vae=vae(), text_encoder=clip_text(), tokenizer=clip_tokenizer(folder), unet=unet(in_channels=5),
        scheduler=d.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        depth_estimator=t.DPTForDepthEstimation(config),
        feature_extractor=t.DPTImageProcessor(size={"height": 32, "width": 32}),
    )  # fmt: skip


def upscale(folder: Path) -> Any:
    return d.StableDiffusionUpscalePipeline(
        vae=vae(), text_encoder=clip_text(), tokenizer=clip_tokenizer(folder), scheduler=d.DDIMScheduler(),
        unet=unet(in_channels=7, num_class_embeds=1000), low_res_scheduler=d.DDPMScheduler(), max_noise_level=350,
    )  # fmt: skip


def unclip_image(folder: Path) -> Any:
    parts = {
        key: value for key, value in tiny_pipelines_2.stable_unclip(folder).components.items() if "prior" not in key
    }
    encoder = t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(
        hidden_size=16, image_size=32, projection_dim=16, intermediate_size=16, num_attention_heads=2,
        num_hidden_layers=1, patch_size=16,
    ))  # fmt: skip
    processor = t.CLIPImageProcessor(crop_size=32, size=32)
    return d.StableUnCLIPImg2ImgPipeline(**parts, image_encoder=encoder, feature_extractor=processor)


def kolors(folder: Path) -> Any:
    """SDXL with a language model as its text encoder. Its tokenizer is a file of sentencepiece."""
    from diffusers.pipelines.kolors.text_encoder import ChatGLMConfig, ChatGLMModel  # noqa: PLC0415
    from diffusers.pipelines.kolors.tokenizer import ChatGLMTokenizer  # noqa: PLC0415

    folder.mkdir(parents=True, exist_ok=True)
    trainer: Any = import_module("sentencepiece").SentencePieceTrainer  # the environment of the tests has none
    trainer.train(
        sentence_iterator=iter([" ".join(WORDS)]), model_prefix=str(folder / "letters"), model_type="char",
        vocab_size=200, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    config = ChatGLMConfig(
        num_layers=2, padded_vocab_size=200, hidden_size=16, ffn_hidden_size=32, kv_channels=8, num_attention_heads=2,
        seq_length=256, original_rope=True,
    )  # fmt: skip
    encoder = ChatGLMModel(config)
    for parameter in encoder.parameters():  # it begins with whatever was in memory
        torch.nn.init.normal_(parameter, std=0.1)
    return d.KolorsPipeline(
        text_encoder=encoder, tokenizer=ChatGLMTokenizer(str(folder / "letters.model")), vae=vae(),
        scheduler=d.EulerDiscreteScheduler(),
        unet=unet(
            addition_embed_type="text_time", addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + 16, use_linear_projection=True,
        ),
    )  # fmt: skip


BUILDERS: Final[dict[str, Callable[[Path], Any]]] = {
    "FluxFillPipeline": flux_fill,
    "KolorsPipeline": kolors,
    "PixArtAlphaPipeline": pixart_alpha,
    "StableDiffusionDepth2ImgPipeline": depth_to_image,
    "StableDiffusionInstructPix2PixPipeline": instruct_pix2pix,
    "StableDiffusionUpscalePipeline": upscale,
    "StableDiffusionXLInstructPix2PixPipeline": instruct_pix2pix_xl,
    "StableUnCLIPImg2ImgPipeline": unclip_image,
}
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "flux_fill": {"max_sequence_length": 32},
    "kolors": {"max_sequence_length": 32},
    "pixart_alpha": {"max_sequence_length": 32, "use_resolution_binning": False},
}  # fmt: skip
"""Arguments of the calls, by builder."""
