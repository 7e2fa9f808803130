"""Tiny random pipelines that are made of the modules of another one: image to image, inpainting, PAG, ControlNet."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Container
from functools import partial
from pathlib import Path
from typing import Any, Final

import diffusers
from diffusers.pipelines.deepfloyd_if.watermark import IFWatermarker
from diffusers.pipelines.stable_diffusion.clip_image_project_model import CLIPImageProjection
from tests.engine import pipelines, tiny_pipelines, tiny_pipelines_2, tiny_pipelines_3, tiny_pipelines_4

d: Any = diffusers
Build = Callable[[Path], Any]

VARIANTS: Final[dict[Build, tuple[str, ...]]] = {
    pipelines.stable_diffusion: (
        "LatentConsistencyModelPipeline", "SemanticStableDiffusionPipeline", "StableDiffusionAdapterPipeline",
        "StableDiffusionAttendAndExcitePipeline", "StableDiffusionControlNetImg2ImgPipeline",
        "StableDiffusionControlNetInpaintPipeline", "StableDiffusionControlNetPAGInpaintPipeline",
        "StableDiffusionControlNetPAGPipeline", "StableDiffusionControlNetPipeline",
        "StableDiffusionControlNetXSPipeline", "StableDiffusionDiffEditPipeline", "StableDiffusionGLIGENPipeline",
        "StableDiffusionGLIGENTextImagePipeline", "StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline",
        "StableDiffusionLDM3DPipeline", "StableDiffusionModelEditingPipeline", "StableDiffusionPAGImg2ImgPipeline",
        "StableDiffusionPAGInpaintPipeline", "StableDiffusionPAGPipeline", "StableDiffusionPanoramaPipeline",
        "StableDiffusionParadigmsPipeline", "StableDiffusionPipelineSafe", "StableDiffusionPix2PixZeroPipeline",
        "StableDiffusionSAGPipeline", "StableDiffusionInpaintPipelineLegacy", "CycleDiffusionPipeline",
        "LatentConsistencyModelImg2ImgPipeline", "LEditsPPPipelineStableDiffusion",
    ),
    pipelines.stable_diffusion_xl: (
        "StableDiffusionXLAdapterPipeline", "StableDiffusionXLControlNetImg2ImgPipeline",
        "StableDiffusionXLControlNetInpaintPipeline", "StableDiffusionXLControlNetPAGImg2ImgPipeline",
        "StableDiffusionXLControlNetPAGPipeline", "StableDiffusionXLControlNetPipeline",
        "StableDiffusionXLControlNetUnionImg2ImgPipeline", "StableDiffusionXLControlNetUnionInpaintPipeline",
        "StableDiffusionXLControlNetUnionPipeline", "StableDiffusionXLControlNetXSPipeline",
        "StableDiffusionXLImg2ImgPipeline", "StableDiffusionXLInpaintPipeline", "StableDiffusionXLPAGImg2ImgPipeline",
        "StableDiffusionXLPAGInpaintPipeline", "StableDiffusionXLPAGPipeline", "LEditsPPPipelineStableDiffusionXL",
    ),
    pipelines.stable_diffusion_3: (
        "StableDiffusion3ControlNetInpaintingPipeline", "StableDiffusion3ControlNetPipeline",
        "StableDiffusion3Img2ImgPipeline", "StableDiffusion3InpaintPipeline", "StableDiffusion3PAGImg2ImgPipeline",
        "StableDiffusion3PAGPipeline",
    ),
    pipelines.flux: (
        "FluxControlNetImg2ImgPipeline", "FluxControlNetInpaintPipeline", "FluxControlNetPipeline",
        "FluxImg2ImgPipeline", "FluxInpaintPipeline", "FluxKontextInpaintPipeline", "FluxKontextPipeline",
    ),
    tiny_pipelines.flux_with_more_channels: (
        "FluxControlImg2ImgPipeline", "FluxControlInpaintPipeline", "FluxControlPipeline",
    ),
    tiny_pipelines.flux_2: ("Flux2KleinInpaintPipeline", "Flux2KleinKVPipeline"),
    pipelines.pixart: ("PixArtSigmaPAGPipeline",),
    pipelines.qwen_image: (
        "QwenImageControlNetInpaintPipeline", "QwenImageControlNetPipeline", "QwenImageImg2ImgPipeline",
        "QwenImageInpaintPipeline",
    ),
    pipelines.z_image: (
        "ZImageControlNetInpaintPipeline", "ZImageControlNetPipeline", "ZImageImg2ImgPipeline", "ZImageInpaintPipeline",
    ),
    tiny_pipelines.chroma: ("ChromaImg2ImgPipeline", "ChromaInpaintPipeline"),
    tiny_pipelines.hunyuan_dit: ("HunyuanDiTControlNetPipeline", "HunyuanDiTPAGPipeline"),
    tiny_pipelines.kandinsky_22: (
        "KandinskyV22Img2ImgCombinedPipeline", "KandinskyV22InpaintCombinedPipeline",
    ),
    tiny_pipelines.amused: ("AmusedImg2ImgPipeline", "AmusedInpaintPipeline"),
    tiny_pipelines_4.kandinsky_22_prior: ("KandinskyV22PriorEmb2EmbPipeline",),
    tiny_pipelines_2.kandinsky: ("KandinskyImg2ImgCombinedPipeline", "KandinskyInpaintCombinedPipeline"),
    tiny_pipelines_4.alt_diffusion: ("AltDiffusionImg2ImgPipeline",),
    tiny_pipelines.bria_fibo: ("BriaFiboEditPipeline",),
    tiny_pipelines_3.kolors: ("KolorsImg2ImgPipeline", "KolorsPAGPipeline"),
    tiny_pipelines_4.deep_floyd_upscale: ("IFImg2ImgSuperResolutionPipeline", "IFInpaintingSuperResolutionPipeline"),
    tiny_pipelines.kandinsky_3: ("Kandinsky3Img2ImgPipeline",),
    tiny_pipelines_2.sana: ("SanaControlNetPipeline", "SanaPAGPipeline"),
    tiny_pipelines_2.sana_sprint: ("SanaSprintImg2ImgPipeline",),
    tiny_pipelines.deep_floyd: ("IFImg2ImgPipeline", "IFInpaintingPipeline"),
    tiny_pipelines.cog_view_4: ("CogView4ControlPipeline",),
}  # fmt: skip
"""Classes by the builder whose modules they take."""


NEED_SAFETY_CHECKER: Final = ("StableDiffusionGLIGENTextImagePipeline", "StableDiffusionInpaintPipelineLegacy")
"""Classes that diffusers does not load without one."""


def variant(name: str, base: Build) -> Build:
    """Return a builder of a class of diffusers that takes the modules of another builder's pipeline."""

    def build(folder: Path) -> Any:
        cls = getattr(d, name)
        takes = inspect.signature(cls.__init__).parameters
        parts: dict[str, Any] = {**base(folder).components, "requires_safety_checker": False}
        if name.startswith("LatentConsistency"):
            parts["unet"] = pipelines.unet(time_cond_proj_dim=32)
            parts["scheduler"] = d.LCMScheduler.from_config(parts["scheduler"].config)
        if name == "StableDiffusionParadigmsPipeline":
            parts["scheduler"] = d.DDIMParallelScheduler.from_config(parts["scheduler"].config)
        if {"controlnet", "adapter"} & takes.keys():
            _add_control(name, takes, parts)
        if "pag_applied_layers" in takes:
            _add_perturbed_attention(parts)
        _add_what_few_take(name, parts, folder)
        optional = [key for key in takes if key not in parts and takes[key].default is takes[key].empty]
        parts |= {key: None for key in optional if key not in ("self", "args", "kwargs")}
        return cls(**{key: value for key, value in parts.items() if key in takes})

    build.__name__ = name
    return build


def _add_perturbed_attention(parts: dict[str, Any]) -> None:
    """Name layers that a tiny denoiser has; a saved transformer is loaded with the default, which is its second."""
    if "transformer" in parts:
        parts["transformer"] = pipelines.like(parts["transformer"], num_layers=2)
    else:
        parts["pag_applied_layers"] = "mid"


def _add_what_few_take(name: str, parts: dict[str, Any], folder: Path) -> None:
    if name.startswith("StableDiffusionGLIGENTextImage"):
        parts |= {"image_encoder": tiny_pipelines_4.vision(), "image_project": CLIPImageProjection(16)}
        parts["processor"] = tiny_pipelines_4.clip_processor(folder)
    if name in NEED_SAFETY_CHECKER:
        parts |= tiny_pipelines_4.safety_checker()
    if name == "IFImg2ImgSuperResolutionPipeline":
        parts["watermarker"] = IFWatermarker()
    if name == "CogView4ControlPipeline":
        parts["transformer"] = pipelines.like(parts["transformer"], in_channels=8)
    if name.startswith("Kandinsky") and "InpaintCombined" in name:
        parts["unet"] = pipelines.like(parts["unet"], in_channels=9)


def _add_control(name: str, takes: Container[str], parts: dict[str, Any]) -> None:
    """Add a control network or adapter, and change the denoiser to one that takes what it gives."""
    if name.startswith(("StableDiffusion3", "Sana")):  # the last layer of the denoiser takes nothing
        parts["transformer"] = pipelines.like(parts["transformer"], num_layers=2)
    if name.startswith("HunyuanDiT"):
        parts["transformer"] = pipelines.like(parts["transformer"], num_layers=6)
    if "controlnet" in takes:
        parts["controlnet"] = pipelines.trained(_control_net(name, parts))
    elif "XL" in name:
        about = {"adapter_type": "full_adapter_xl", "downscale_factor": 4}
        parts["adapter"] = d.T2IAdapter(channels=[8, 16], num_res_blocks=1, **about)
    else:  # the adapter's first layer is for one with attention
        blocks = {"down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D")}
        parts["unet"] = pipelines.unet(**blocks, up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
        parts["adapter"] = d.T2IAdapter(channels=[8, 16], num_res_blocks=1, downscale_factor=2)


def _control_net(name: str, parts: dict[str, Any]) -> Any:
    """A control network of the denoiser's shape."""
    if "unet" in parts:
        if "XS" in name:
            parts["unet"] = _like(parts["unet"], d.UNet2DConditionModel, layers_per_block=2)  # the only number it knows
            return d.ControlNetXSAdapter.from_unet(
                parts["unet"], size_ratio=0.5, conditioning_embedding_out_channels=(4, 8)
            )
        if "Union" in name:
            more = {"num_trans_channel": 8, "num_proj_channel": 8, "num_trans_head": 2, "num_trans_layer": 1}
            return _like(parts["unet"], d.ControlNetUnionModel, conditioning_embedding_out_channels=(4, 8), **more)
        return d.ControlNetModel.from_unet(parts["unet"], conditioning_embedding_out_channels=(4, 8))
    transformer = parts["transformer"]
    if name.startswith("ZImage"):
        more = {
            "control_layers_places": [0],
            "control_refiner_layers_places": [0],
            "control_in_dim": 33 if "Inpaint" in name else 16,
        }
        keep = ("all_patch_size", "all_f_patch_size", "dim", "n_refiner_layers", "n_heads", "n_kv_heads", "qk_norm")
        return d.ZImageControlNetModel(**more, **{key: transformer.config[key] for key in keep})
    if name.startswith("Sana"):
        return _like(transformer, d.SanaControlNetModel, num_layers=1)
    kinds = {
        "StableDiffusion3": d.SD3ControlNetModel, "Flux": d.FluxControlNetModel,
        "HunyuanDiT": partial(d.HunyuanDiT2DControlNetModel, transformer_num_layers=6),
        "Qwen": d.QwenImageControlNetModel,
    }  # fmt: skip
    kind = next(kind for start, kind in kinds.items() if name.startswith(start))
    more = {"extra_conditioning_channels": 1, "extra_condition_channels": 4} if "Inpaint" in name else {}
    return _like(transformer, kind, **more)


def _like(module: Any, kind: Any, **more: Any) -> Any:
    """A module of another class with the parts of a module's configuration that it takes."""
    takes = inspect.signature(kind).parameters
    return kind(**{key: value for key, value in {**module.config, **more}.items() if key in takes})


BUILDERS: Final[dict[str, Build]] = {
    name: variant(name, base) for base, names in VARIANTS.items() for name in names if hasattr(d, name)
}
BASES: Final[dict[str, str]] = {name: base.__name__ for base, names in VARIANTS.items() for name in names}
"""The name of the builder whose modules a class takes."""
