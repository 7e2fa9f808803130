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
SIZES: Final = (
    {"kandinsky_5": [(1024, 1024)], "hunyuan_dit": [(64, 64), (128, 64)]}
    | tiny_pipelines_2.SIZES
    | tiny_pipelines_4.SIZES
)
UNSTABLE: Final = {"kandinsky_22": ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")}
"""Schedulers with which random weights amplify rounding, by builder: a batch of two by diffusers itself differs from
single pictures by 17/255 there."""
_IMAGE_PROCESSOR = "its image processor needs torchvision, and more files than the tests write"
_NOT_FOUND = "diffusers does not find the class of a module that it has saved itself"
_TINY = "its text encoder expects more tokens than a tiny one has"
NOT_BUILT: Final[dict[str, str]] = {
    "BriaFiboPipeline": _TINY,
    "CogView4ControlPipeline": _TINY,
    "CogView4Pipeline": _TINY,
    "HunyuanDiTPAGPipeline": _TINY,
    "GlmImagePipeline": _IMAGE_PROCESSOR,
    "Kandinsky3Img2ImgPipeline": _TINY,
    "Kandinsky3Pipeline": _TINY,
    "Ideogram4Pipeline": "its text encoder is made for one checkpoint",
    "KandinskyCombinedPipeline": "its tokenizer cannot be built without sentencepiece",
    "LuminaPipeline": "its random weights give values that are not finite",
    "PixArtSigmaPAGPipeline": "its default layers are not in a tiny denoiser",
    "PRXPipeline": "its text encoder cannot be built from a configuration",
    "StableCascadeCombinedPipeline": _NOT_FOUND,
    "StableDiffusion3PAGImg2ImgPipeline": "its default layers are not in a tiny denoiser",
    "StableDiffusion3PAGPipeline": "its default layers are not in a tiny denoiser",
    "StableDiffusionControlNetXSPipeline": "its modules cannot be loaded after they were saved",
    "StableDiffusionGLIGENTextImagePipeline": "its modules are made for one checkpoint",
    "StableDiffusionInpaintPipelineLegacy": "deprecated; its modules are those of StableDiffusionInpaintPipeline",
    "StableDiffusionXLControlNetXSPipeline": "its modules cannot be loaded after they were saved",
    "WuerstchenCombinedPipeline": _NOT_FOUND,
    "ZImageControlNetInpaintPipeline": "its control network is made for one checkpoint",
    "ZImageOmniPipeline": _IMAGE_PROCESSOR,
}
"""Classes without a tiny pipeline in the tests that works, and why."""
