"""The conditional GAN, which needs one forward pass for each picture."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_worker.generators.base import ImageTask, Picture, padding
from limner_worker.generators.builtin.conditioned import Conditioning, Encoder, codec_folder
from limner_worker.generators.builtin.pixels import sized
from limner_worker.generators.device import AsyncDecode, Device, compilation, compiled
from limner_worker.generators.weight_files import checked_hashes, locate
from limner_worker.networks.gan import NOISE_WIDTH, GanGenerator
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, load_module, weights_size


@dataclass(eq=False, slots=True)
class OneStepState:
    """The state of one image before and after its step."""

    task: ImageTask
    noise: Tensor  # float32 [128]
    conditioning: Conditioning
    small: Tensor | None = None  # float32 [3, 64, 64] in [-1, 1]
    error: Exception | None = None

    @property
    def key(self) -> Hashable:
        """All images may share a batch."""
        return self.task.alone

    @property
    def rows(self) -> int:
        """Each image is one row."""
        return 1

    @property
    def steps_done(self) -> int:
        """0, or all steps."""
        return 0 if self.small is None else self.task.spec.steps

    @property
    def finished(self) -> bool:
        """Whether only the upscaling is left."""
        return self.small is not None

    def checkpoint(self) -> bytes | None:
        """Always None: an image of one step is generated again instead."""
        return None

    def close(self) -> None:
        """Do nothing: the tensors are freed with the state."""


class OneStep:
    """A `GanGenerator` and the upscaler; noise is drawn for each image on the CPU in float32."""

    def __init__(self, card: ModelCard, device: str, encoder: Encoder) -> None:
        """Load weights from the card's folders. Raises CardError if weights are missing or damaged."""
        self.card = card
        self._device = Device(device)
        self.device = self._device.torch
        folder, codec = locate(card.source), codec_folder(card)
        try:
            self.gan = load_module(GanGenerator, folder / "gan.safetensors").to(self.device)
            self.upscaler = load_module(Upscaler, codec / "upscaler.safetensors").to(self.device)
        except WeightsError as error:
            raise CardError(f"{card.name}: {error}") from error
        self._draw = compiled(self.gan, card)
        self._encoder = encoder
        self._encoder.require_styles(card, self.gan.styles)
        self._hashes = checked_hashes(folder, card.sha256)

    @property
    def nbytes(self) -> int:
        """The size of both networks in bytes, without the shared text encoder."""
        return weights_size(self.gan) + weights_size(self.upscaler)

    @torch.inference_mode()
    def start(self, tasks: Sequence[ImageTask]) -> list[OneStepState]:
        """Encode the texts that are not cached, and draw each image's noise from its seed."""
        for task in tasks:
            task.placed = self._device.places_matter
        conditionings = self._encoder(tasks, self.gan.styles)
        return [
            OneStepState(task, self._device.to_device(_noise(task.seed)), conditioning)
            for task, conditioning in zip(tasks, conditionings, strict=True)
        ]

    @torch.inference_mode()
    def step(self, states: Sequence[OneStepState]) -> None:
        """Run the single forward pass."""
        with padding([state.task for state in states], self.card.buckets) as batch:
            padded = batch.filled(states)
            styles = self._device.to_device(torch.tensor([state.conditioning.style for state in padded]))
            with self._device.autocast(self.card):
                pictures = self._draw(
                    torch.stack([state.noise for state in padded]),
                    torch.stack([state.conditioning.text for state in padded]),
                    styles,
                ).float()
        for row, state in enumerate(states, batch.place):
            if not torch.isfinite(pictures[row]).all():
                state.error = FloatingPointError("the picture is not finite")
            state.small = pictures[row].clamp(-1, 1)
        self._device.synchronize()

    @torch.inference_mode()
    def decode(self, states: Sequence[OneStepState]) -> AsyncDecode[list[Tensor]]:
        """Convert the pictures to pixels, upscaled if requested."""
        return self._device.decode_async(lambda: self._pixels(states), lambda pixels: [each.numpy for each in pixels])

    def _pixels(self, states: Sequence[OneStepState]) -> list[Tensor]:
        drawn = [(state.small, state.task.spec.width) for state in states if state.small is not None]
        return [self._device.to_host(sized(small, width, self.upscaler)) for small, width in drawn]

    def preview(self, state: OneStepState) -> Picture | None:
        """Always None: there is no state before the final picture."""
        del state
        return None

    def fingerprint(self) -> dict[str, Any]:
        """Return the SHA-256 of the weights, and the software, device and sampler that ran them."""
        return {
            "weights": self._hashes,
            **self._encoder.fingerprint(),
            "torch": torch.__version__,
            "device": str(self.device),
            "dtype": self.card.dtype,
            "sampler": "gan",
            **compilation(self.card),
        }


def _noise(seed: int) -> Tensor:
    return torch.randn(NOISE_WIDTH, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)
