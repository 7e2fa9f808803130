"""Flow matching on the latents of a small autoencoder, with a learned upscaler: the built-in quality model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Final

import torch
from torch import Tensor

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_worker.generators.base import ImageTask, Padding, Picture, padding
from limner_worker.generators.builtin.conditioned import Conditioning, Encoder, codec_folder
from limner_worker.generators.builtin.flow_state import FlowState, is_of_scene, packed, started
from limner_worker.generators.builtin.pixels import sized, to_pixels
from limner_worker.generators.builtin.scenes.drawing import COMPOSITION, alone, composed, resized
from limner_worker.generators.device import AsyncDecode, Device, compilation, compiled
from limner_worker.generators.weight_files import checked_hashes, locate
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import FlowTransformer
from limner_worker.networks.gan import NOISE_WIDTH, GanGenerator
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, load_module, weights_size

INSTANT_PREVIEW_SHARE: Final = 0.35
"""Until this share of the steps a preview shows the instant model's picture, if any; the flow's is still a blur."""
PREVIEW_SIDE: Final = 64
CUT_SIDE: Final = 128
"""The size at which a preview's things are cut out: that takes a third of the time of a picture's size."""
Row = tuple[FlowState, int]
"""A row of a batch: an image, and which of its drawings."""


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
        for task in tasks:
            task.placed = self._device.places_matter
            task.scene = self._encoder.scene(task, max(self.card.buckets)) if is_of_scene(task.checkpoint) else None
        return [
            self._start(task, conditionings)
            for task, conditionings in zip(tasks, self._encoder.rows(tasks, self.flow.styles), strict=True)
        ]

    def _start(self, task: ImageTask, conditionings: Sequence[Conditioning]) -> FlowState:
        latents, steps_done = started(task, len(conditionings))
        return FlowState(task, self._device.to_device(latents), conditionings, steps_done=steps_done)

    @torch.inference_mode()
    def step(self, states: Sequence[FlowState]) -> None:
        """Advance each image by one Euler step, with the times and step sizes of its own schedule.

        All of them, or none if a call fails: the engine then repeats the step with fewer images.
        """
        with ExitStack() as calls:
            moved = [
                each
                for group in packed(states, max(self.card.buckets))
                for each in self._moved(group, calls.enter_context(self._padding(group)))
            ]
        for state, latents, velocity in moved:
            state.latents, state.velocity = latents, velocity
            state.steps_done += 1
        self._device.synchronize()

    def _padding(self, group: Sequence[FlowState]) -> AbstractContextManager[Padding]:
        return padding([state.task for state in group], self.card.buckets, [state.rows for state in group])

    def _moved(self, group: Sequence[FlowState], batch: Padding) -> list[tuple[FlowState, Tensor, Tensor]]:
        """Return each image with its next latents and velocity [rows, 16, 8, 8], from one call for the group."""
        padded = batch.filled([(state, row) for state in group for row in range(state.rows)])
        latents = torch.stack([state.latents[row] for state, row in padded])  # [B, 16, 8, 8]
        guidance = self._numbers([state.spec.guidance for state, _ in padded])
        conditional, unconditional = self._velocity(padded, latents).chunk(2)
        velocity = unconditional + guidance * (conditional - unconditional)
        moved = latents + self._numbers([1 / state.spec.steps for state, _ in padded]) * velocity
        ends = list(accumulate((state.rows for state in group), initial=batch.place))
        return [
            (state, moved[begin:end], velocity[begin:end])
            for state, (begin, end) in zip(group, pairwise(ends), strict=True)
        ]

    def _numbers(self, values: list[float]) -> Tensor:
        """Return one number for each image as float32 [B, 1, 1, 1] on the device."""
        return self._device.to_device(torch.tensor(values)).view(-1, 1, 1, 1)

    def _velocity(self, rows: Sequence[Row], latents: Tensor) -> Tensor:
        """Return velocities [2B, 16, 8, 8] with and without the conditioning, from one forward pass."""
        times = self._device.to_device(torch.tensor([state.time for state, _ in rows]))
        wanted = [state.conditionings[row] for state, row in rows]
        empty = torch.zeros_like(wanted[0].text)
        negatives = [empty if each.negative is None else each.negative for each in wanted]
        nulls = [False] * len(rows) + [each.negative is None for each in wanted]
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
    def decode(self, states: Sequence[FlowState]) -> AsyncDecode[list[list[Tensor]]]:
        """Decode latents to pixels, upscaled to 256x256 if requested. Raises FloatingPointError for NaN."""
        if not all(torch.isfinite(state.latents).all() for state in states):
            raise FloatingPointError("the latents are not finite")
        return self._device.decode_async(
            lambda: self._drawn(states),
            lambda drawn: [partial(_finished, state.task, each) for state, each in zip(states, drawn, strict=True)],
        )

    def _drawn(self, states: Sequence[FlowState]) -> list[list[Tensor]]:
        """Return each image's drawings as pixels on the host: one of the requested size, or those of its scene."""
        with ExitStack() as calls:
            return [
                drawings
                for group in packed(states, max(self.card.buckets))
                for drawings in self._group_drawn(group, calls.enter_context(self._padding(group)))
            ]

    def _group_drawn(self, group: Sequence[FlowState], batch: Padding) -> list[list[Tensor]]:
        padded = torch.stack(batch.filled([row for state in group for row in state.latents]))
        decoded = self.autoencoder.decode(self.autoencoder.denormalise(padded)).clamp(-1, 1)
        small = iter(decoded[batch.place :])  # [3, 64, 64] each
        return [
            [self._device.to_host(sized(next(small), state.drawn_side, self.upscaler)) for _ in range(state.rows)]
            for state in group
        ]

    @torch.inference_mode()
    def preview(self, state: FlowState) -> Picture | None:
        """Return 64x64 pixels: first the instant model's picture, then the image that the last velocity leads to."""
        if self.instant is not None and (state.velocity is None or state.time < INSTANT_PREVIEW_SHARE):
            noise = torch.randn(1, NOISE_WIDTH, generator=torch.Generator("cpu").manual_seed(state.task.seed))
            style = torch.tensor([state.conditionings[0].style] * state.rows, device=self.device)
            texts = torch.stack([each.text for each in state.conditionings])
            return self._previewed(state, self.instant(noise.to(self.device).expand(state.rows, -1), texts, style))
        if state.velocity is None:
            return None
        clean = state.latents + (1 - state.time) * state.velocity
        return self._previewed(state, self.autoencoder.decode(self.autoencoder.denormalise(clean)))

    @staticmethod
    def _previewed(state: FlowState, drawings: Tensor) -> Picture:
        small = [to_pixels(drawing).cpu().numpy() for drawing in drawings]
        if state.scene is None:
            return small[0]
        cut = [resized(each, CUT_SIDE) for each in small]
        return composed(state.scene, cut, state.task.seed, PREVIEW_SIDE).picture

    def fingerprint(self) -> dict[str, Any]:
        """Return the SHA-256 of the weights, and the software, device and sampler that ran them."""
        return {
            "weights": self._hashes,
            **self._encoder.fingerprint(),
            "torch": torch.__version__,
            "device": str(self.device),
            "dtype": self.card.dtype,
            "sampler": "euler",
            "composition": COMPOSITION,
            **compilation(self.card),
        }


def _finished(task: ImageTask, drawings: Sequence[Tensor]) -> Picture:
    """Return an image's only drawing, or the picture of its scene."""
    pictures = [each.numpy() for each in drawings]
    if task.scene is None:
        return pictures[0]
    found = composed(task.scene, pictures, task.seed, task.spec.width)
    task.things = [alone(each) for each in found.cutouts]
    return found.picture
