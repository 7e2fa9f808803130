"""Flow matching on the latents of a small autoencoder, with a learned upscaler: the built-in quality model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner_shared.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.jobs import JobSpec
from limner_worker.generators.base import Picture, bucket_for, locate
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import FlowTransformer
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, load_module

Encode = Callable[[Sequence[str]], Tensor]
FILES = ("autoencoder", "flow", "upscaler")
LATENT_SHAPE = (16, 8, 8)


@dataclass(eq=False, slots=True)
class FlowState:
    """One image between steps."""

    spec: JobSpec
    latents: Tensor  # float32 [16, 8, 8], normalised
    text: Tensor  # float32 [384]
    negative: Tensor | None  # float32 [384]; None stands for the learned empty text
    style: int
    steps_done: int = 0

    @property
    def time(self) -> float:
        """How far from noise (0) to data (1)."""
        return self.steps_done / self.spec.steps


class LatentFlow:
    """Euler steps of a rectified flow (Liu et al. 2023) with classifier-free guidance (Ho & Salimans 2022).

    At a fixed batch size a row's bits do not depend on its companions; so every forward pass is padded to one of the
    card's buckets. Noise is drawn per image, on the CPU, in float32: the same on every device.
    """

    def __init__(self, card: ModelCard, device: str, encode: Encode) -> None:
        """Load weights from the card's folder. Raises CardError with what is missing."""
        self.card = card
        self.device = torch.device(device)
        folder = locate(card.source)
        try:
            self.autoencoder = load_module(Autoencoder, folder / "autoencoder.safetensors").to(self.device)
            self.flow = load_module(FlowTransformer, folder / "flow.safetensors").to(self.device)
            self.upscaler = load_module(Upscaler, folder / "upscaler.safetensors").to(self.device)
        except WeightsError as error:
            raise CardError(f"{card.name}: {error}") from error
        missing = set(card.styles) - set(self.flow.styles)
        if missing:
            raise CardError(f"{card.name}: the weights do not know the styles {sorted(missing)}.")
        self._encode = encode
        self._hashes = {name: _sha256(folder / f"{name}.safetensors") for name in FILES}

    def batch_key(self, spec: JobSpec) -> Hashable:
        """Everything shares a batch: seed, steps, guidance, prompts and even size differ freely."""
        return ()

    @torch.inference_mode()
    def start(self, specs: Sequence[tuple[JobSpec, int]]) -> list[FlowState]:
        """Encode all texts in one batch and draw each image's noise from its seed."""
        texts = [spec.prompt for spec, _ in specs] + [spec.negative_prompt for spec, _ in specs if spec.negative_prompt]
        encoded = dict(zip(texts, self._encode(texts).to(self.device), strict=True))
        return [
            FlowState(
                spec=spec,
                latents=_noise(seed).to(self.device),
                text=encoded[spec.prompt],
                negative=encoded.get(spec.negative_prompt),
                style=self.flow.styles.index(spec.style) if spec.style else len(self.flow.styles),
            )
            for spec, seed in specs
        ]

    @torch.inference_mode()
    def step(self, states: Sequence[FlowState]) -> int:
        """One Euler step each, from wherever each is, by the step size that each needs."""
        bucket = bucket_for(len(states), self.card.buckets)
        padded = [*states, *[states[0]] * (bucket - len(states))]
        latents = torch.stack([state.latents for state in padded])  # [B, 16, 8, 8]
        guidance = torch.tensor([state.spec.guidance for state in padded], device=self.device).view(-1, 1, 1, 1)
        conditional, unconditional = self._velocity(padded, latents).chunk(2)
        velocity = unconditional + guidance * (conditional - unconditional)
        sizes = torch.tensor([1 / state.spec.steps for state in padded], device=self.device).view(-1, 1, 1, 1)
        for state, moved in zip(states, latents + sizes * velocity, strict=False):
            state.latents = moved
            state.steps_done += 1
        return bucket

    def _velocity(self, states: Sequence[FlowState], latents: Tensor) -> Tensor:
        """Velocities [2B, 16, 8, 8] with and without the conditioning, in one forward pass."""
        times = torch.tensor([state.time for state in states], device=self.device)
        empty = torch.zeros_like(states[0].text)
        negatives = [empty if state.negative is None else state.negative for state in states]
        nulls = [False] * len(states) + [state.negative is None for state in states]
        styles = [state.style for state in states] * 2  # guidance is away from no text, within the style
        return self.flow(
            torch.cat([latents, latents]),
            torch.cat([times, times]),
            torch.stack([*(state.text for state in states), *negatives]),
            torch.tensor(styles, device=self.device),
            torch.tensor(nulls, device=self.device),
        )

    @torch.inference_mode()
    def decode(self, states: Sequence[FlowState]) -> list[Picture]:
        """Latents to pixels, and to 256x256 where that is asked for. Raises FloatingPointError for NaN."""
        if not all(torch.isfinite(state.latents).all() for state in states):
            raise FloatingPointError("the latents are not finite")
        bucket = bucket_for(len(states), self.card.buckets)
        padded = [*states, *[states[0]] * (bucket - len(states))]
        latents = self.autoencoder.denormalise(torch.stack([state.latents for state in padded]))
        small = self.autoencoder.decode(latents).clamp(-1, 1)  # [B, 3, 64, 64]
        # Row by row beyond 64 pixels: a batch gains nothing there, and only those who ask for it pay.
        return [
            _to_picture(small[row] if state.spec.width == small.shape[-1] else self.upscaler(small[row : row + 1])[0])
            for row, state in enumerate(states)
        ]

    def fingerprint(self) -> dict[str, Any]:
        """Weights by their SHA-256, and what ran them."""
        return {
            "weights": self._hashes,
            "torch": torch.__version__,
            "device": str(self.device),
            "dtype": "float32",
            "sampler": "euler",
        }


def _noise(seed: int) -> Tensor:
    return torch.randn(LATENT_SHAPE, generator=torch.Generator("cpu").manual_seed(seed), dtype=torch.float32)


def _to_picture(pixels: Tensor) -> Picture:
    """[3, H, W] in [-1, 1] to uint8 [H, W, 3]."""
    scaled = (pixels.clamp(-1, 1) + 1).mul(127.5).round()
    return scaled.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
