"""Tiny random pipelines that are made of the modules of another one: image to image, inpainting, PAG, ControlNet."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import diffusers
from tests.engine import pipelines, tiny_pipelines, tiny_pipelines_2, tiny_pipelines_4

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
    tiny_pipelines_4.deep_floyd_upscale: ("IFImg2ImgSuperResolutionPipeline", "IFInpaintingSuperResolutionPipeline"),
    tiny_pipelines.kandinsky_3: ("Kandinsky3Img2ImgPipeline",),
    tiny_pipelines_2.sana: ("SanaControlNetPipeline", "SanaPAGPipeline"),
    tiny_pipelines_2.sana_sprint: ("SanaSprintImg2ImgPipeline",),
    tiny_pipelines.deep_floyd: ("IFImg2ImgPipeline", "IFInpaintingPipeline"),
    tiny_pipelines.cog_view_4: ("CogView4ControlPipeline",),
}  # fmt: skip
"""Classes by the builder whose modules they take."""


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
        if "controlnet" in takes:
            parts["controlnet"] = _control_net(name, parts)
        if "adapter" in takes:
            parts["adapter"] = d.T2IAdapter(channels=[8, 16], num_res_blocks=1, downscale_factor=2)
        if "pag_applied_layers" in takes:
            parts["pag_applied_layers"] = "mid" if "unet" in parts else "0"
        if "image_processor" in takes and name.startswith("StableDiffusionGLIGEN"):
            parts |= {"processor": None, "image_encoder": None, "image_project": None}
        optional = [key for key in takes if key not in parts and takes[key].default is takes[key].empty]
        parts |= {key: None for key in optional if key not in ("self", "args", "kwargs")}
        return cls(**{key: value for key, value in parts.items() if key in takes})

    build.__name__ = name
    return build


def _control_net(name: str, parts: dict[str, Any]) -> Any:
    """A control network of the denoiser's shape."""
    if "unet" in parts:
        if "XS" in name:
            return d.ControlNetXSAdapter.from_unet(
                parts["unet"], size_ratio=0.5, conditioning_embedding_out_channels=(4, 8)
            )
        kind = d.ControlNetUnionModel if "Union" in name else d.ControlNetModel
        return kind.from_unet(parts["unet"], conditioning_embedding_out_channels=(4, 8))
    transformer = parts["transformer"]
    if name.startswith("ZImage"):
        more = {"control_layers_places": [0], "control_refiner_layers_places": [0], "control_in_dim": 16}
        keep = ("all_patch_size", "all_f_patch_size", "dim", "n_refiner_layers", "n_heads", "n_kv_heads", "qk_norm")
        return d.ZImageControlNetModel(**more, **{key: transformer.config[key] for key in keep})
    if name.startswith("Sana"):
        return d.SanaControlNetModel(**{**_given(transformer, d.SanaControlNetModel), "num_layers": 1})
    kinds = {
        "StableDiffusion3": d.SD3ControlNetModel, "Flux": d.FluxControlNetModel,
        "HunyuanDiT": d.HunyuanDiT2DControlNetModel,
        "Qwen": d.QwenImageControlNetModel,
    }  # fmt: skip
    kind = next(kind for start, kind in kinds.items() if name.startswith(start))
    return kind(**_given(transformer, kind))


def _given(module: Any, kind: Any) -> dict[str, Any]:
    """The parts of a module's configuration that another class takes."""
    takes = inspect.signature(kind.__init__).parameters
    return {key: value for key, value in module.config.items() if key in takes}


BUILDERS: Final[dict[str, Build]] = {
    name: variant(name, base) for base, names in VARIANTS.items() for name in names if hasattr(d, name)
}
BASES: Final[dict[str, str]] = {name: base.__name__ for base, names in VARIANTS.items() for name in names}
"""The name of the builder whose modules a class takes."""
