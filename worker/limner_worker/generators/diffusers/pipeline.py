"""Any diffusers pipeline, batched at each call of its modules: text encoders, denoiser and VAE."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from numpy.typing import NDArray
from torch import nn

from limner_shared.domain.cards import ModelCard
from limner_shared.telemetry import get_logger
from limner_worker.generators.base import Drawn, ImageTask, Padding, Picture, padding
from limner_worker.generators.device import AsyncDecode, Device, compiled
from limner_worker.generators.diffusers.calls.call_batching import CallKind, content_digest, kind_of
from limner_worker.generators.diffusers.calls.call_joining import UnknownLayout, alike, join, split
from limner_worker.generators.diffusers.calls.encoded_prompts import EncodedPrompts
from limner_worker.generators.diffusers.calls.layered_tensors import COUPLED
from limner_worker.generators.diffusers.calls.text_outputs import TextOutputs
from limner_worker.generators.diffusers.joint_steps import may_join, step_jointly
from limner_worker.generators.diffusers.latent_preview import LatentPreview
from limner_worker.generators.diffusers.loaded_adapters import LoadedAdapters
from limner_worker.generators.diffusers.output_pictures import drawn, picture_of
from limner_worker.generators.diffusers.pipeline_loading import LoadedPipeline, scheduler_key
from limner_worker.generators.diffusers.shared_modules import AS_LOADED, SharedModules
from limner_worker.generators.diffusers.suspended_run import SuspendedRun, tap
from limner_worker.generators.diffusers.weights.adapter_loading import ActiveAdapters, UsedAdapters
from limner_worker.generators.text_encoding.shared_cache import EncodedTextCache, SharedEncodedTextCache
from limner_worker.networks.weights import weights_size

log = get_logger(__name__)
Runs = Sequence[SuspendedRun]


class DiffusersPipeline:
    """`DiffusionPipeline.from_pretrained` of the card's source: Stable Diffusion, SDXL, SD3, FLUX, PixArt and others.

    Each image runs the pipeline's own code (see `suspended_run`); this class joins the calls that the runs make. An
    image's noise comes from a CPU generator seeded for it. Weights are read from safetensors only, and no code from a
    model repository is run.
    """

    def __init__(self, card: ModelCard, device: str, cache_bytes: int, cache_url: str = "") -> None:
        """Load the pipeline. Raises CardError with the reason.

        The cache of encoded texts holds `cache_bytes` bytes, and is shared through the Redis at `cache_url` if given.
        """
        self.card = card
        self._loaded = LoadedPipeline.of(card, device)
        self.pipeline: Any = self._loaded.pipeline
        self.pipelines, self.unsupported = self._loaded.pipelines, self._loaded.unsupported
        # If weights move or change their dtype between steps, a concurrent decode could read weights that are changing.
        weights_stay = card.offload == "none" and card.device_map is None and not self._loaded.casts_its_vae
        self._device = Device(device, own_decode_stream=weights_stay)
        self._shared = SharedModules(self.pipeline.components, lambda: self._device.synchronize(decodes=True))
        self.calls: dict[str, CallKind] = {}
        """The kind of each call that may be joined, by the call's name."""
        self._functions: dict[str, Any] = {}  # the original of each tapped method, for joined calls
        for name, module in self.pipeline.components.items():
            if isinstance(module, nn.Module):
                self._tap(name, module)
        self.device_name = self._device.name
        about = self.fingerprint() | {"text_batch": card.text_batch, "gpu": self.device_name}
        self._texts = TextOutputs(EncodedTextCache(cache_bytes, SharedEncodedTextCache.at(cache_url, about)))
        self._prompts = EncodedPrompts(cache_bytes)
        prepared = self._loaded.schedulers.items()
        self._joint_schedulers = {
            key for key, each in prepared if may_join(each, self._device.torch, getattr(torch, card.dtype))
        }
        """The schedulers that make the steps of several images at once."""
        self._latent_preview: LatentPreview | None = None
        self._adapters = ActiveAdapters(self.pipeline, card, lambda: self._shared.enter(AS_LOADED))
        self._folder = LoadedAdapters(self.pipeline, card, self._adapters.changing)
        self._size = sum(weights_size(one) for one in self.pipeline.components.values() if isinstance(one, nn.Module))
        if card.adapters:
            self.pipeline.disable_lora()

    def _tap(self, name: str, module: nn.Module) -> None:
        kind = kind_of(name)
        if kind is None:
            return
        if kind is CallKind.DENOISE:
            module.forward = compiled(module.forward, self.card)
        method = "decode" if kind is CallKind.DECODE else "forward"
        call = f"{name}.{method}"
        self.calls[call] = kind
        if isinstance(module, COUPLED):
            self.unbatched_calls.add(call)
        self._functions[call] = tap(module, method, kind, call)

    # --- for the check at load ---

    @property
    def unbatched_calls(self) -> set[str]:
        """The names of the calls that are made for one image at a time."""
        return self._shared.unbatched_calls

    @torch.inference_mode()
    def draw_alone(self, task: ImageTask) -> NDArray[np.float32]:
        """Return the picture that the pipeline draws by itself, as float32 in [0, 1]."""
        pipeline, _, arguments = self._loaded.call_of(task)
        self._adapters.use(UsedAdapters.of(task.spec))
        try:
            return picture_of(pipeline(**arguments))
        finally:
            self._shared.capture()
            self._shared.enter(AS_LOADED)

    @contextmanager
    def without_text_cache(self) -> Iterator[None]:
        """A context without a cache of encoded texts."""
        texts, prompts = self._texts, self._prompts
        self._texts, self._prompts = TextOutputs(EncodedTextCache(0)), EncodedPrompts(0)
        try:
            yield
        finally:
            self._texts, self._prompts = texts, prompts

    # --- for the engine ---

    @property
    def nbytes(self) -> int:
        """The size of all the pipeline's modules in bytes, with the adapters that requests have named."""
        return self._size + self._folder.nbytes

    @torch.inference_mode()
    def start(self, tasks: Sequence[ImageTask]) -> list[SuspendedRun]:
        """Run each image's pipeline up to its first denoiser call; the texts of all images are encoded in batches."""
        with ExitStack() as unfinished:  # a suspended run that is forgotten is never collected
            images = [unfinished.enter_context(closing(self._image(task))) for task in tasks]
            for image in images:
                image.resume()
            self._settle(images)
            unfinished.pop_all()
        return images

    @torch.inference_mode()
    def step(self, states: Sequence[SuspendedRun]) -> None:
        """Call the denoiser once for all these images, then run each pipeline up to its next call.

        A step begins with the control network, if there is one: images that wait then hold none of its large output.
        After an attempt that ran out of memory on its way, they may wait for different calls: some are left for later.
        """
        self._settle(states)
        if waiting := [image for image in states if not image.finished]:
            self._serve(alike(waiting))
        self._settle(states)
        if controlled := [image for image in states if image.controlled]:
            self._serve(alike(controlled))
            self._settle(states)
        self._device.synchronize()

    @torch.inference_mode()
    def decode(self, states: Sequence[SuspendedRun]) -> AsyncDecode[list[Any]]:
        """Decode latents to pixels. Raises FloatingPointError if they are not finite, or the pipeline's error."""
        waiting = alike(self._undecoded(states))
        compute = partial(self._results, waiting) if waiting else list[Any]
        return self._device.decode_async(compute, partial(self._drawn, states, waiting))

    def _drawn(self, states: Runs, waiting: Runs, results: Sequence[Any]) -> list[Drawn]:
        """Resume the pipelines with their decoded latents until they end; some make a few more calls."""
        for image, result in zip(waiting, results, strict=True):
            image.resume(result)
        while left := self._undecoded(states):
            self._serve(alike(left))
        return [drawn(image.picture, image.task.spec) for image in states if image.picture is not None]

    @staticmethod
    def _undecoded(states: Sequence[SuspendedRun]) -> list[SuspendedRun]:
        waiting = [image for image in states if image.picture is None]
        for image in waiting:
            if image.error is not None:
                raise image.error
            if image.pending is not None:
                image.pending.require_finite()
        return waiting

    @torch.inference_mode()
    def preview(self, state: SuspendedRun) -> Picture | None:
        """Return a preview of at most 128 pixels across by a linear map of the latents; None without AutoencoderKL."""
        if state.clean is None or not isinstance(getattr(self.pipeline, "vae", None), AutoencoderKL):
            return None
        if self._latent_preview is None:
            self._device.synchronize(decodes=True)
            self._shared.enter(AS_LOADED)
            self._latent_preview = LatentPreview(self.pipeline.vae)
        return self._latent_preview.picture(state.clean, state.task.spec.width, state.task.spec.height)

    def fingerprint(self) -> dict[str, Any]:
        """Return the pipeline's source, weights and fixed arguments, and the software and device that ran them."""
        more = self._loaded.about | {"apart": sorted(self.unbatched_calls)}
        return {
            "pipeline": type(self.pipeline).__name__,
            "source": self.card.source.model_dump(mode="json", exclude_none=True),
            "weights": self._loaded.weights,
            "diffusers": diffusers.__version__,
            "torch": torch.__version__,
            "device": str(self._device.torch),
            "dtype": self.card.dtype,
            "sampler": type(self.pipeline.scheduler).__name__,
        } | {name: value for name, value in more.items() if value}

    # --- calls ---

    def _settle(self, images: Sequence[SuspendedRun]) -> None:
        """Make the schedulers' steps, and encode texts, until no image waits for either."""
        while waiting := [image for image in images if image.kind in (CallKind.SCHEDULE, CallKind.ENCODE)]:
            if waiting[0].kind is CallKind.SCHEDULE:
                self._schedule([image for image in waiting if image.kind is CallKind.SCHEDULE])
            else:
                self._encode(alike(waiting))
        self._texts.settle()

    def _schedule(self, images: Sequence[SuspendedRun]) -> None:
        """Make the pending steps of the images' schedulers, those of equal position as one."""
        together: dict[Hashable, list[SuspendedRun]] = {}
        for image in images:
            together.setdefault(image.joining.pending and image.joining.pending.position, []).append(image)
        for some in together.values():
            steps = [image.joining.pending for image in some if image.joining.pending is not None]
            results: Sequence[Any] = [None] * len(some)
            if len(steps) > 1:
                try:
                    results = step_jointly(steps)
                except Exception as error:  # noqa: BLE001 - then each image makes its own step, and its own error
                    self._joint_schedulers.discard(scheduler_key(some[0].task.spec))
                    log.info("schedulers step image by image", model=self.card.name, reason=repr(error)[:200])
            for image, result in zip(some, results, strict=True):
                image.resume(result)

    def _encode(self, images: Sequence[SuspendedRun]) -> None:
        """Encode texts of one key. The batch size is constant, so that cached and new results have equal bits."""
        calls = [image.call for image in images]
        contents = [content_digest(call) for call in calls]
        keys = [
            f"{image.adapters.loras} {what}" if what is not None else f"only {id(image)}"
            for image, what in zip(images, contents, strict=True)
        ]
        name, size = calls[0].name, self.card.text_batch
        comparable = list(dict.fromkeys(key for key, what in zip(keys, contents, strict=True) if what is not None))
        repeated = {key for key, call in zip(keys, calls, strict=True) if call.repeated}
        found = self._texts.find(name, [key for key in comparable if key not in repeated])
        unknown = {key: image for key, image in zip(keys, images, strict=True) if key not in found}
        size = 1 if images[0].solitary else size
        for start in range(0, len(unknown), size):
            some = list(unknown.items())[start : start + size]
            found |= zip(dict(some), self._call([image for _, image in some], Padding(size)), strict=True)
        for key, image, call in zip(keys, images, calls, strict=True):
            shared = key in comparable
            image.resume(self._texts.noticed(name, found[key], partial(image.repeat, call)) if shared else found[key])
        self._texts.store(name, {key: found[key] for key in unknown if key in comparable})

    def _serve(self, images: Sequence[SuspendedRun]) -> None:
        """Make the calls of these images, which have one key, as one call, and resume each image with its share."""
        if images[0].kind is CallKind.PAUSE:
            with padding([image.task for image in images], (1,)):
                images[0].resume()
        elif images[0].kind is CallKind.SCHEDULE:
            self._schedule(images)
        else:
            for image, result in zip(images, self._results(images), strict=True):
                image.joining.enabled = len(images) > 1 and scheduler_key(image.task.spec) in self._joint_schedulers
                image.resume(result)

    def _results(self, images: Sequence[SuspendedRun]) -> list[Any]:
        buckets = (1,) if images[0].solitary else self.card.buckets
        with padding([image.task for image in images], buckets) as batch:
            return self._call(images, Padding(1) if images[0].solitary else batch)

    def _call(self, images: Sequence[SuspendedRun], batch: Padding) -> list[Any]:
        """Make these images' calls as one, padded; one by one if the output cannot be split into rows."""
        calls, name = [image.call for image in images], images[0].call.name
        self._adapters.use(images[0].adapters)
        self._shared.enter(images[0].changes)
        function = self._functions[name]
        try:
            return split(function(**join(calls, batch)), calls, batch)
        except UnknownLayout as error:
            self._shared.unbatched_calls.add(name)
            log.info("calls made for one image at a time", model=self.card.name, module=name, reason=str(error))
            return [split(function(**call.arguments), [call], Padding(1))[0] for call in calls]

    # --- one image ---

    def _image(self, task: ImageTask) -> SuspendedRun:
        task.placed = self._device.places_matter
        pipeline, scheduler, arguments = self._loaded.call_of(task)
        adapters = self._folder.of(task)
        pausing = CallKind.DENOISE not in self.calls.values()
        run = SuspendedRun(task, pipeline, scheduler, arguments, self._shared, adapters, pausing=pausing)
        self._folder.runs.add(run)
        self._prompts.use(pipeline, self._loaded.pipelines[task.spec.task], run.adapters.loras)
        return run
