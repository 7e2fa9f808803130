"""Any pipeline of diffusers, driven step by step at the level of its modules: text encoders, denoiser, VAE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import Tensor, nn

from limner_shared.domain.cards import ModelCard
from limner_shared.telemetry import get_logger
from limner_worker.generators.base import ImageTask, Picture, padding
from limner_worker.generators.device import AsyncDecode, Device, compiled
from limner_worker.generators.diffusers.call_batching import Call, UnknownLayout, content, join, part
from limner_worker.generators.diffusers.latent_preview import Projection
from limner_worker.generators.diffusers.own_pipeline import own_pipeline
from limner_worker.generators.diffusers.pipeline_loading import Loaded
from limner_worker.generators.diffusers.shared_modules import AS_LOADED, SharedModules
from limner_worker.generators.diffusers.suspended_run import Kind, PipelineImage, picture_of, tap
from limner_worker.generators.nested_tensors import owned
from limner_worker.generators.text_encoding.shared_cache import Embeddings, SharedTexts
from limner_worker.networks.weights import weights_size

log = get_logger(__name__)

DENOISERS = ("transformer", "unet")


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
        self._loaded = Loaded.of(card, device)
        self.pipeline: Any = self._loaded.pipeline
        # Where weights move or change their dtype between steps, a decode beside them could read what is being changed.
        still = card.offload == "none" and card.device_map is None and not self._loaded.casts_its_vae
        self._device = Device(device, beside=still)
        self._shared = SharedModules(self.pipeline.components, lambda: self._device.settle(decodes=True))
        self.calls: dict[str, Kind] = {}
        """What is joined, by the names of the calls."""
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
        self.calls[f"{name}.{method}"] = kind
        self._functions[f"{name}.{method}"] = tap(module, method, kind, f"{name}.{method}")

    # --- what its check asks ---

    @property
    def apart(self) -> set[str]:
        """Names of calls that are made for one image at a time."""
        return self._shared.apart

    @torch.inference_mode()
    def alone(self, task: ImageTask) -> NDArray[np.float32]:
        """What the pipeline itself draws, as float32 in [0, 1]."""
        pipeline, scheduler, arguments = self._loaded.call_of(task)
        try:
            return picture_of(own_pipeline(pipeline, scheduler)(**arguments))
        finally:
            self._shared.capture()
            self._shared.enter(AS_LOADED)

    @contextmanager
    def forgetful(self) -> Iterator[None]:
        """Within it no encoded text is remembered."""
        texts, self._texts = self._texts, Embeddings(0)
        try:
            yield
        finally:
            self._texts = texts

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
            self._device.settle(decodes=True)
            self._shared.enter(AS_LOADED)
            self._projection = Projection(self.pipeline.vae)
        return self._projection.picture(state.clean, state.task.spec.width, state.task.spec.height)

    def fingerprint(self) -> dict[str, Any]:
        """The pipeline's source and what ran it."""
        return {
            "pipeline": type(self.pipeline).__name__,
            "source": self.card.source.model_dump(mode="json", exclude_none=True),
            "weights": self._loaded.weights,
            "diffusers": diffusers.__version__,
            "torch": torch.__version__,
            "device": str(self._device.torch),
            "dtype": self.card.dtype,
            "sampler": type(self.pipeline.scheduler).__name__,
        } | ({"apart": sorted(self.apart)} if self.apart else {})

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
        size = 1 if images[0].solitary else size
        for start in range(0, len(unknown), size):
            some = list(unknown.items())[start : start + size]
            outputs = self._call([image for _, image in some], size)
            named = dict(zip(dict(some), outputs, strict=True))
            new = {key: owned(output) if key in comparable else output for key, output in named.items()}
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
        buckets = (1,) if images[0].solitary else self.card.buckets
        with padding([image.task for image in images], buckets) as size:
            return self._call(images, 1 if images[0].solitary else size)

    def _call(self, images: Sequence[PipelineImage], size: int) -> list[Any]:
        """Make these images' calls as one, padded to `size`; one by one where the result cannot be told apart."""
        calls = [image.call for image in images]
        self._use(images[0].adapters)
        self._shared.enter(images[0].changes)
        function = self._functions[calls[0].name]
        try:
            return part(function(**join(calls, size)), calls, size)
        except UnknownLayout as error:
            self._shared.apart.add(calls[0].name)
            log.info("made for one image at a time", model=self.card.name, module=calls[0].name, reason=str(error))
            return [function(**call.arguments) for call in calls]

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
        pipeline, scheduler, arguments = self._loaded.call_of(task)
        pausing = not any(name.startswith(DENOISERS) for name in self._functions)
        return PipelineImage(task, pipeline, scheduler, arguments, self._shared, pausing=pausing)


def _require_finite(call: Call | None) -> None:
    tensors = [] if call is None else [value for value in call.arguments.values() if isinstance(value, Tensor)]
    if not all(torch.isfinite(tensor).all() for tensor in tensors):
        raise FloatingPointError("the latents are not finite")


def _to_picture(picture: NDArray[np.float32]) -> Picture:
    """float [H, W, 3] in [0, 1] to uint8."""
    if not np.isfinite(picture).all():
        raise FloatingPointError("the picture is not finite")
    return (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
