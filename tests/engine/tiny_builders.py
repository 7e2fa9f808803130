"""The tiny random pipelines for `make matrix`: their builders by class, and what is special about their calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.engine import (
    odd_pipelines,
    pipelines,
    tiny_pipelines,
    tiny_pipelines_2,
    tiny_pipelines_3,
    tiny_pipelines_4,
    tiny_variants,
    tiny_vision,
)
from tests.engine.pipeline_jobs import FAMILIES

Build = Callable[[Path], Any]
BUILDERS: Final[dict[str, Build]] = {
    "Flux2KleinPipeline": tiny_pipelines.flux_2,
    "FluxPipeline": pipelines.flux,
    "HunyuanImagePipeline": odd_pipelines.hunyuan_image,
    "Kandinsky5T2IPipeline": odd_pipelines.kandinsky_5,
    "KandinskyV22CombinedPipeline": tiny_pipelines.kandinsky_22,
    "LDMTextToImagePipeline": odd_pipelines.latent_diffusion,
    "PixArtSigmaPipeline": pipelines.pixart,
    "QwenImagePipeline": pipelines.qwen_image,
    "StableDiffusion3Pipeline": pipelines.stable_diffusion_3,
    "StableDiffusionPipeline": pipelines.stable_diffusion,
    "StableDiffusionXLPipeline": pipelines.stable_diffusion_xl,
    "ZImagePipeline": pipelines.z_image,
    **tiny_pipelines.BUILDERS,
    **tiny_pipelines_2.BUILDERS,
    **tiny_pipelines_3.BUILDERS,
    **tiny_pipelines_4.BUILDERS,
    **tiny_variants.BUILDERS,
    **tiny_vision.BUILDERS,
}
SMALL: Final = {"_auto_resize": False}
UNION: Final = {"control_mode": 3}
ARGUMENTS: Final[dict[str, dict[str, Any]]] = {
    "StableDiffusionXLControlNetUnionImg2ImgPipeline": UNION,
    "StableDiffusionXLControlNetUnionInpaintPipeline": UNION,
    "StableDiffusionXLControlNetUnionPipeline": UNION,
    "FluxKontextInpaintPipeline": SMALL,
    "FluxKontextPipeline": SMALL,
    "flux_2": {"max_sequence_length": 64, "text_encoder_out_layers": [1]},
    **tiny_pipelines.ARGUMENTS,
    **tiny_pipelines_2.ARGUMENTS,
    **tiny_pipelines_3.ARGUMENTS,
    **tiny_pipelines_4.ARGUMENTS,
    **tiny_vision.ARGUMENTS,
} | {name: family.arguments for name, family in FAMILIES.items()}
"""Arguments of the pipeline's call, by the name of the builder whose modules a pipeline has."""
SQUARES: Final = [(32, 32), (64, 64)]
"""For pipelines that take the height for the width."""
SIZES: Final[dict[str, list[tuple[int, int]]]] = (
    {"kandinsky_5": [(1024, 1024)]}
    | {name: [(64, 64), (128, 64)] for name in ("hunyuan_dit", "kandinsky_3")}
    | tiny_pipelines_2.SIZES
    | tiny_pipelines_4.SIZES
    | tiny_vision.SIZES
    | {f"{name}Img2ImgCombinedPipeline": SQUARES for name in ("Kandinsky", "KandinskyV22")}
)
NEEDS: Final = dict.fromkeys(tiny_vision.BUILDERS, "torchvision") | {
    **dict.fromkeys(("PRXPipeline", "PRXPixelPipeline"), "ftfy"),
    **dict.fromkeys(("KolorsPipeline", "KolorsImg2ImgPipeline", "KolorsPAGPipeline"), "sentencepiece"),
}
"""The package that a class needs beside those of the environment."""
NOT_BUILT: Final[dict[str, str]] = {
    "JoyImageEditPipeline": "it draws a million pixels whatever it is asked for: not compared at that size",
    "Kandinsky5I2IPipeline": "it draws a million pixels whatever it is asked for: not compared at that size",
    "GlmImagePipeline": "it draws from tokens that a language model of its own writes, and the tests have no tiny one",
}
"""Classes without a tiny pipeline in the tests that works, and why."""
