"""Flow matching on the latents of a small autoencoder, with a learned upscaler: the built-in quality model."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.errors import CardError
from limner_worker.generators.base import ImageTask, Picture, checked_hashes, locate, padding
from limner_worker.generators.builtin.conditioned import Conditioning, Encoder, codec_folder
from limner_worker.generators.builtin.pixels import sized, to_pixels
from limner_worker.generators.device import AsyncDecode, Device, compiled
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import FlowTransformer
from limner_worker.networks.gan import NOISE_WIDTH, GanGenerator
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, load_module, weights_size

LATENT_SHAPE = (16, 8, 8)
INSTANT_PREVIEW_SHARE = 0.35
"""Until this share of the steps a preview shows the instant model's picture, if any; the flow's is still a blur."""


@dataclass(eq=False, slots=True)
class FlowState:
    """The state of one image between steps."""

    task: ImageTask
    latents: Tensor  # float32 [16, 8, 8], normalised
    conditioning: Conditioning
    velocity: Tensor | None = None  # float32 [16, 8, 8], from the last step
    steps_done: int = 0
    error: Exception | None = None

    @property
    def spec(self) -> JobSpec:
        """The resolved request."""
        return self.task.spec

    @property
    def key(self) -> Hashable:
        """All images may share a batch, whatever their seed, steps, guidance, prompt or even size."""
        return self.task.alone

    @property
    def time(self) -> float:
        """The position between noise (0) and data (1)."""
        return self.steps_done / self.spec.steps

    @property
    def finished(self) -> bool:
        """Whether only the decode is left."""
        return self.steps_done >= self.spec.steps

    def checkpoint(self) -> bytes | None:
        """Return the latents and the number of steps done as safetensors; None before the first step."""
        steps = torch.tensor(self.steps_done)
        return save({"latents": self.latents.cpu(), "steps_done": steps}) if self.steps_done > 0 else None

    def close(self) -> None:
        """Do nothing: the tensors are freed with the state."""


class LatentFlow:
    """Euler steps of a rectified flow (Liu et al. 2023) with classifier-free guidance (Ho & Salimans 2022).

    At a fixed batch size a row's bits do not depend on the other rows, so every forward pass is padded to one of the
    card's buckets. Noise is drawn for each image on the CPU in float32, which makes it the same on every device.
    """

    def __init__(self, card: ModelCard, device: str, encoder: Encoder) -> None:
        """Load weights from the card's folders. Raises CardError if weights are missing or damaged."""
        self.card = card
        self._device = Device(device)
        self.device = self._device.torch
        folder, codec = locate(card.source), codec_folder(card)
        try:
            self.autoencoder = load_module(Autoencoder, codec / "autoencoder.safetensors").to(self.device)
            self.flow = load_module(FlowTransformer, folder / "flow.safetensors").to(self.device)
            self.upscaler = load_module(Upscaler, codec / "upscaler.safetensors").to(self.device)
            self.instant = self._instant(card)
        except WeightsError as error:
            raise CardError(f"{card.name}: {error}") from error
        self._denoiser = compiled(self.flow, card)
        self._encoder = encoder
        self._encoder.require_styles(card, self.flow.styles)
        self._hashes = checked_hashes(folder, card.sha256)

    def _instant(self, card: ModelCard) -> GanGenerator | None:
        if card.preview is None:
            return None
        return load_module(GanGenerator, locate(card.preview) / "gan.safetensors").to(self.device)

    @property
    def nbytes(self) -> int:
        """The size of the networks in bytes, without the shared text encoder."""
        modules = (self.autoencoder, self.flow, self.upscaler, self.instant)
        return sum(weights_size(module) for module in modules if module is not None)

    @torch.inference_mode()
    def start(self, tasks: Sequence[ImageTask]) -> list[FlowState]:
        """Encode the texts that are not cached, and draw each image's noise from its seed."""
        return [
            self._start(task, conditioning)
            for task, conditioning in zip(tasks, self._encoder(tasks, self.flow.styles), strict=True)
        ]

    def _start(self, task: ImageTask, conditioning: Conditioning) -> FlowState:
        stored = load(task.checkpoint) if task.checkpoint else {"latents": _noise(task.seed)}
        return FlowState(
            task=task,
            latents=self._device.to_device(stored["latents"]),
            conditioning=conditioning,
            steps_done=int(stored.get("steps_done", torch.tensor(0))),
        )

    @torch.inference_mode()
    def step(self, states: Sequence[FlowState]) -> None:
        """Advance each image by one Euler step, with the times and step sizes of its own schedule."""
        with padding([state.task for state in states], self.card.buckets) as size:
            moved, velocity = self._moved([*states, *[states[0]] * (size - len(states))])
        for row, state in enumerate(states):
            state.latents, state.velocity = moved[row], velocity[row]
            state.steps_done += 1
        self._device.synchronize()

    def _moved(self, padded: Sequence[FlowState]) -> tuple[Tensor, Tensor]:
        latents = torch.stack([state.latents for state in padded])  # [B, 16, 8, 8]
        guidance = self._numbers([state.spec.guidance for state in padded])
        conditional, unconditional = self._velocity(padded, latents).chunk(2)
        velocity = unconditional + guidance * (conditional - unconditional)
        sizes = self._numbers([1 / state.spec.steps for state in padded])
        return latents + sizes * velocity, velocity

    def _numbers(self, values: list[float]) -> Tensor:
        """Return one number for each image as float32 [B, 1, 1, 1] on the device."""
        return self._device.to_device(torch.tensor(values)).view(-1, 1, 1, 1)

    def _velocity(self, states: Sequence[FlowState], latents: Tensor) -> Tensor:
        """Return velocities [2B, 16, 8, 8] with and without the conditioning, from one forward pass."""
        times = self._device.to_device(torch.tensor([state.time for state in states]))
        wanted = [state.conditioning for state in states]
        empty = torch.zeros_like(wanted[0].text)
        negatives = [empty if each.negative is None else each.negative for each in wanted]
        nulls = [False] * len(states) + [each.negative is None for each in wanted]
        styles = [each.style for each in wanted] * 2  # guidance removes the text and keeps the style
        with self._device.autocast(self.card):
            velocity = self._denoiser(
                torch.cat([latents, latents]),
                torch.cat([times, times]),
                torch.stack([*(each.text for each in wanted), *negatives]),
                self._device.to_device(torch.tensor(styles)),
                self._device.to_device(torch.tensor(nulls)),
            )
        return velocity.float()

    @torch.inference_mode()
    def decode(self, states: Sequence[FlowState]) -> AsyncDecode[list[Tensor]]:
        """Decode latents to pixels, upscaled to 256x256 if requested. Raises FloatingPointError for NaN."""
        if not all(torch.isfinite(state.latents).all() for state in states):
            raise FloatingPointError("the latents are not finite")
        return self._device.decode_async(lambda: self._pixels(states), lambda pixels: [each.numpy() for each in pixels])

    def _pixels(self, states: Sequence[FlowState]) -> list[Tensor]:
        with padding([state.task for state in states], self.card.buckets) as size:
            padded = [*states, *[states[0]] * (size - len(states))]
            latents = self.autoencoder.denormalise(torch.stack([state.latents for state in padded]))
            small = self.autoencoder.decode(latents).clamp(-1, 1)  # [B, 3, 64, 64]
        return [
            self._device.to_host(sized(small[row], state.spec.width, self.upscaler)) for row, state in enumerate(states)
        ]

    @torch.inference_mode()
    def preview(self, state: FlowState) -> Picture | None:
        """Return 64x64 pixels: first the instant model's picture, then the image that the last velocity leads to."""
        if self.instant is not None and (state.velocity is None or state.time < INSTANT_PREVIEW_SHARE):
            noise = torch.randn(1, NOISE_WIDTH, generator=torch.Generator("cpu").manual_seed(state.task.seed))
            style = torch.tensor([state.conditioning.style], device=self.device)
            drawn = self.instant(noise.to(self.device), state.conditioning.text[None], style)
            return to_pixels(drawn[0]).cpu().numpy()
        if state.velocity is None:
            return None
        clean = state.latents + (1 - state.time) * state.velocity
        return to_pixels(self.autoencoder.decode(self.autoencoder.denormalise(clean[None]))[0]).cpu().numpy()

    def fingerprint(self) -> dict[str, Any]:
        """Return the SHA-256 of the weights, and the software, device and sampler that ran them."""
        return {
            "weights": self._hashes,
            **self._encoder.fingerprint(),
            "torch": torch.__version__,
            "device": str(self.device),
            "dtype": self.card.dtype,
            "sampler": "euler",
        }


def _noise(seed: int) -> Tensor:
    return torch.randn(LATENT_SHAPE, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
