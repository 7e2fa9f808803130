"""Any pipeline of diffusers, driven step by step at the level of its modules: text encoders, denoiser, VAE."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.pipelines.auto_pipeline import AutoPipelineForImage2Image, AutoPipelineForInpainting
from diffusers.pipelines.pipeline_utils import DiffusionPipeline
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_heun_discrete import FlowMatchHeunDiscreteScheduler
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_worker.generators.base import ImageTask, Picture, checked_hashes, locate, padding
from limner_worker.generators.device import AsyncDecode, Device, compiled
from limner_worker.generators.diffusers.call_batching import Call, content, join, owned, part
from limner_worker.generators.diffusers.latent_preview import Projection
from limner_worker.generators.diffusers.suspended_run import Kind, PipelineImage, tap
from limner_worker.generators.text_encoding.shared_cache import Embeddings, SharedTexts
from limner_worker.networks.weights import weights_size

FLOW_SCHEDULERS = (FlowMatchEulerDiscreteScheduler, FlowMatchHeunDiscreteScheduler)
"""They do not name each other as compatible. A third one, FlowMatchLCMScheduler, draws noise that no seed governs."""
DENOISERS = ("transformer", "unet")
DECODE = "vae.decode"
TASKS = {"image-to-image": AutoPipelineForImage2Image, "inpainting": AutoPipelineForInpainting}


class DiffusersPipeline:
    """`DiffusionPipeline.from_pretrained` of the card's source: Stable Diffusion, SDXL, SD3, FLUX, PixArt and others.

    Each image runs the pipeline's own code (see `pipeline_run`); here the calls that it makes are joined. Its noise
    comes from a generator on the CPU, seeded by the image. Weights are read as safetensors only, and no code of a
    repository is run.
    """

    def __init__(self, card: ModelCard, device: str, cache_bytes: int, cache_url: str = "") -> None:
        """Load the pipeline. Raises CardError with the reason.

        Of encoded texts so many bytes are remembered, and all shared in the Redis at `cache_url`.
        """
        self.card = card
        # Where weights move between steps, a decode beside them could read what is being moved.
        self._device = Device(device, beside=card.offload == "none" and card.device_map is None)
        try:
            folder = _folder(card.source)
            self._weights = checked_hashes(folder, card.sha256)
            self.pipeline: Any = _load(card, folder, device)
            self._schedulers = {name: _scheduler_class(self.pipeline, name) for name in card.schedulers}
            self._pipelines = {
                task: TASKS[task].from_pipe(self.pipeline) if task in TASKS else self.pipeline for task in card.tasks
            }
            for pipeline in self._pipelines.values():
                pipeline.set_progress_bar_config(disable=True)
            for name, source in card.adapters.items():
                self.pipeline.load_lora_weights(str(locate(source)), adapter_name=name, use_safetensors=True)
        except Exception as error:
            # Over somebody's files a library may raise anything; the other models are served all the same.
            raise CardError(f"{card.name}: {card.source.name} does not load: {error}") from error
        self._functions: dict[str, Any] = {}  # what each tapped method was, to be called for many images
        for name, module in self.pipeline.components.items():
            if isinstance(module, nn.Module):
                self._tap(name, module)
        about = self.fingerprint() | {"text_batch": card.text_batch, "gpu": self._device.kind}
        self._texts = Embeddings(cache_bytes, SharedTexts.at(cache_url, about))
        self._projection: Projection | None = None
        self._active: tuple[tuple[str, float], ...] = ()
        if card.adapters:
            self.pipeline.disable_lora()

    def _tap(self, name: str, module: nn.Module) -> None:
        if name.startswith(DENOISERS):
            module.forward = compiled(module.forward, self.card)
            kind, method = Kind.DENOISE, "forward"
        elif name.startswith("text_encoder"):
            kind, method = Kind.ENCODE, "forward"
        elif name == "vae":
            kind, method = Kind.DECODE, "decode"
        else:
            return
        self._functions[f"{name}.{method}"] = tap(module, method, kind, f"{name}.{method}")

    # --- what the engine asks ---

    @property
    def nbytes(self) -> int:
        """Of all the pipeline's modules."""
        modules = [module for module in self.pipeline.components.values() if isinstance(module, nn.Module)]
        return sum(weights_size(module) for module in modules)

    @torch.inference_mode()
    def start(self, tasks: Sequence[ImageTask]) -> list[PipelineImage]:
        """Run each image's pipeline up to its denoiser; the texts of all are encoded in batches."""
        images = [self._image(task) for task in tasks]
        for image in images:
            image.resume()
        self._settle(images)
        return images

    @torch.inference_mode()
    def step(self, states: Sequence[PipelineImage]) -> None:
        """One call of the denoiser for all these images, and then the pipeline's own arithmetic for each."""
        self._serve(states)
        self._settle(states)
        self._device.settle()

    @torch.inference_mode()
    def decode(self, states: Sequence[PipelineImage]) -> AsyncDecode[list[Any]]:
        """Latents to pixels. Raises FloatingPointError for what is not finite, and what the pipeline raised."""
        waiting = self._undecoded(states)
        return self._device.beside(
            lambda: self._results(waiting) if waiting else [],
            lambda results: self._pictures(states, waiting, results),
        )

    def _pictures(
        self, states: Sequence[PipelineImage], waiting: Sequence[PipelineImage], results: Sequence[Any]
    ) -> list[Picture]:
        """Let the pipelines go on with their decoded latents, to the end; some make a few more calls."""
        for image, result in zip(waiting, results, strict=True):
            image.resume(result)
        while left := self._undecoded(states):
            self._serve([image for image in left if image.key == left[0].key])
        return [_to_picture(image.picture) for image in states if image.picture is not None]

    @staticmethod
    def _undecoded(states: Sequence[PipelineImage]) -> list[PipelineImage]:
        waiting = [image for image in states if image.picture is None]
        for image in waiting:
            if image.error is not None:
                raise image.error
            _require_finite(image.pending)
        return waiting

    @torch.inference_mode()
    def preview(self, state: PipelineImage) -> Picture | None:
        """At most 128 pixels across, by a linear map of the latents; None for what is no AutoencoderKL's."""
        if state.clean is None or not isinstance(getattr(self.pipeline, "vae", None), AutoencoderKL):
            return None
        if self._projection is None:
            self._device.settle(decodes=True)  # SDXL's VAE changes its dtype around each of them
            self._projection = Projection(self.pipeline.vae)
        return self._projection.picture(state.clean, state.task.spec.width, state.task.spec.height)

    def fingerprint(self) -> dict[str, Any]:
        """The pipeline's source and what ran it."""
        return {
            "pipeline": type(self.pipeline).__name__,
            "source": self.card.source.model_dump(mode="json", exclude_none=True),
            "weights": self._weights,
            "diffusers": diffusers.__version__,
            "torch": torch.__version__,
            "device": str(self._device.torch),
            "dtype": self.card.dtype,
            "sampler": type(self.pipeline.scheduler).__name__,
        }

    # --- calls ---

    def _settle(self, images: Sequence[PipelineImage]) -> None:
        """Encode texts until nobody waits for one."""
        while waiting := [image for image in images if image.kind is Kind.ENCODE]:
            self._encode([image for image in waiting if image.key == waiting[0].key])

    def _encode(self, images: Sequence[PipelineImage]) -> None:
        """Texts always go in batches of one size, so that an embedding, remembered or not, has the same bits."""
        contents = [content(image.call) for image in images]
        keys = [
            f"{image.adapters} {what}" if what is not None else f"only {id(image)}"
            for image, what in zip(images, contents, strict=True)
        ]
        name, size = images[0].call.name, self.card.text_batch
        comparable = [key for key, what in zip(keys, contents, strict=True) if what is not None]
        found = self._texts.find(name, list(dict.fromkeys(comparable)))
        unknown = {key: image for key, image in zip(keys, images, strict=True) if key not in found}
        for start in range(0, len(unknown), size):
            some = list(unknown.items())[start : start + size]
            outputs = self._call([image.call for _, image in some], size, images[0].adapters)
            new = {key: owned(output) for (key, _), output in zip(some, outputs, strict=True)}
            self._texts.keep(name, {key: output for key, output in new.items() if key in comparable})
            found |= new
        for key, image in zip(keys, images, strict=True):
            image.resume(found[key])

    def _serve(self, images: Sequence[PipelineImage]) -> None:
        """Make the calls of these images, all of one key, as one, and resume each with its share."""
        if images[0].kind is Kind.PAUSE:
            with padding([image.task for image in images], (1,)):
                images[0].resume()
            return
        for image, result in zip(images, self._results(images), strict=True):
            image.resume(result)

    def _results(self, images: Sequence[PipelineImage]) -> list[Any]:
        with padding([image.task for image in images], self.card.buckets) as size:
            return self._call([image.call for image in images], size, images[0].adapters)

    def _call(self, calls: Sequence[Call], size: int, adapters: tuple[tuple[str, float], ...]) -> list[Any]:
        name = calls[0].name
        self._use(adapters)
        arguments = join(calls, size)
        if name == DECODE and self.pipeline.vae.dtype != arguments["z"].dtype:
            self.pipeline.vae.to(arguments["z"].dtype)  # SDXL's own code casts its VAE up and down around each decode
        return part(self._functions[name](**arguments), calls, size)

    def _use(self, adapters: tuple[tuple[str, float], ...]) -> None:
        if adapters == self._active:
            return
        if adapters:
            self.pipeline.enable_lora()
            self.pipeline.set_adapters([name for name, _ in adapters], [weight for _, weight in adapters])
        else:
            self.pipeline.disable_lora()
        self._active = adapters

    # --- one image ---

    def _image(self, task: ImageTask) -> PipelineImage:
        spec = task.spec
        pipeline = self._pipelines[spec.task]
        config = self.pipeline.scheduler.config
        scheduler = (self._schedulers[spec.scheduler] if spec.scheduler else type(self.pipeline.scheduler)).from_config(
            config
        )
        given = {
            "prompt": spec.prompt,
            "negative_prompt": spec.negative_prompt or None,
            "width": spec.width,
            "height": spec.height,
            "num_inference_steps": spec.steps,
            self._guidance: spec.guidance,
            "guidance_rescale": spec.guidance_rescale,
            "generator": torch.Generator("cpu").manual_seed(task.seed),
            "output_type": "np",
            "image": None if task.image is None else Image.fromarray(task.image),
            "mask_image": None if task.mask is None else Image.fromarray(task.mask),
            "strength": spec.strength,
        }
        takes = inspect.signature(pipeline.__call__).parameters  # not every pipeline has negative prompts, or a mask
        arguments = {name: value for name, value in given.items() if name in takes and value is not None}
        arguments |= self.card.options.get("arguments", {})
        pausing = not any(name.startswith(DENOISERS) for name in self._functions)
        return PipelineImage(task, pipeline, scheduler, arguments, pausing=pausing)

    @property
    def _guidance(self) -> str:
        """What a pipeline calls the strength of classifier-free guidance, where a distilled one takes both."""
        denoiser = getattr(self.pipeline, "transformer", None)
        distilled = getattr(getattr(denoiser, "config", None), "guidance_embeds", None)
        takes = inspect.signature(self.pipeline.__call__).parameters
        return "true_cfg_scale" if distilled is False and "true_cfg_scale" in takes else "guidance_scale"


def _folder(source: Source) -> Path:
    """Where the pipeline's files are, once a hub's are fetched."""
    if source.hub is None:
        return locate(source)
    return Path(DiffusionPipeline.download(source.hub, revision=source.revision, use_safetensors=True))


def _load(card: ModelCard, folder: Path, device: str) -> Any:
    pipeline: Any = DiffusionPipeline.from_pretrained(
        str(folder),
        dtype=getattr(torch, card.dtype),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        device_map=card.device_map,
    )
    if card.device_map is not None:
        return pipeline  # accelerate has put it where it fits
    if card.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    elif card.offload == "sequential":
        pipeline.enable_sequential_cpu_offload(device=device)
    else:
        pipeline.to(device)
    if device.startswith("cuda"):
        for module in pipeline.components.values():
            if isinstance(module, nn.Module) and any(isinstance(part, nn.Conv2d) for part in module.modules()):
                module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return pipeline


def _scheduler_class(pipeline: Any, name: str) -> Any:
    """A scheduler that can stand in for the pipeline's own. Raises ValueError that names those that can."""
    own = type(pipeline.scheduler)
    flows = FLOW_SCHEDULERS if own in FLOW_SCHEDULERS else ()
    allowed = {cls.__name__: cls for cls in (own, *pipeline.scheduler.compatibles, *flows)}
    if name not in allowed:
        raise ValueError(f"the scheduler {name!r} does not fit; those that do: {', '.join(sorted(allowed))}")
    return allowed[name]


def _require_finite(call: Call | None) -> None:
    tensors = [] if call is None else [value for value in call.arguments.values() if isinstance(value, Tensor)]
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise FloatingPointError("the latents are not finite")


def _to_picture(picture: NDArray[np.float32]) -> Picture:
    """float [H, W, 3] in [0, 1] to uint8."""
    if not np.isfinite(picture).all():
        raise FloatingPointError("the picture is not finite")
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
