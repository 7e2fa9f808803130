"""Flow matching on the latents of a small autoencoder, with a learned upscaler: the built-in quality model."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from limner_shared.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.jobs import JobSpec
from limner_worker.generators.base import ImageTask, Picture, checked_hashes, locate, padding
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import FlowTransformer
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, load_module, weights_size

Encode = Callable[[Sequence[str]], Tensor]
LATENT_SHAPE = (16, 8, 8)


@dataclass(eq=False, slots=True)
class FlowState:
    """One image between steps."""

    task: ImageTask
    latents: Tensor  # float32 [16, 8, 8], normalised
    text: Tensor  # float32 [384]
    negative: Tensor | None  # float32 [384]; None stands for the learned empty text
    style: int
    velocity: Tensor | None = None  # float32 [16, 8, 8], of the last step
    steps_done: int = 0
    error: Exception | None = None

    @property
    def spec(self) -> JobSpec:
        """What was asked for."""
        return self.task.spec

    @property
    def key(self) -> Hashable:
        """Everything shares a batch: seed, steps, guidance, prompts and even size differ freely."""
        return self.task.alone

    @property
    def time(self) -> float:
        """How far from noise (0) to data (1)."""
        return self.steps_done / self.spec.steps

    @property
    def finished(self) -> bool:
        """Whether only the decode is left."""
        return self.steps_done >= self.spec.steps

    def checkpoint(self) -> bytes | None:
        """The latents and how many steps they are old, as safetensors."""
        steps = torch.tensor(self.steps_done)
        return save({"latents": self.latents.cpu(), "steps_done": steps}) if self.steps_done > 0 else None


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
        self._hashes = checked_hashes(folder, card.sha256)

    @property
    def nbytes(self) -> int:
        """Of the three networks; the text encoder is shared."""
        return sum(weights_size(module) for module in (self.autoencoder, self.flow, self.upscaler))

    @torch.inference_mode()
    def start(self, tasks: Sequence[ImageTask]) -> list[FlowState]:
        """Encode what is not remembered, and draw each image's noise from its seed."""
        texts = [text for task in tasks for text in (task.spec.prompt, task.spec.negative_prompt) if text]
        encoded = dict(zip(texts, self._encode(texts).to(self.device), strict=True))
        return [self._start(task, encoded) for task in tasks]

    def _start(self, task: ImageTask, encoded: Mapping[str, Tensor]) -> FlowState:
        spec = task.spec
        kept = load(task.checkpoint) if task.checkpoint else {"latents": _noise(task.seed)}
        return FlowState(
            task=task,
            latents=kept["latents"].to(self.device),
            text=encoded[spec.prompt],
            negative=encoded.get(spec.negative_prompt or ""),
            style=self.flow.styles.index(spec.style) if spec.style else len(self.flow.styles),
            steps_done=int(kept.get("steps_done", torch.tensor(0))),
        )

    @torch.inference_mode()
    def step(self, states: Sequence[FlowState]) -> None:
        """One Euler step each, from wherever each is, by the step size that each needs."""
        with padding([state.task for state in states], self.card.buckets) as size:
            moved, velocity = self._moved([*states, *[states[0]] * (size - len(states))])
        for row, state in enumerate(states):
            state.latents, state.velocity = moved[row], velocity[row]
            state.steps_done += 1

    def _moved(self, padded: Sequence[FlowState]) -> tuple[Tensor, Tensor]:
        latents = torch.stack([state.latents for state in padded])  # [B, 16, 8, 8]
        guidance = torch.tensor([state.spec.guidance for state in padded], device=self.device).view(-1, 1, 1, 1)
        conditional, unconditional = self._velocity(padded, latents).chunk(2)
        velocity = unconditional + guidance * (conditional - unconditional)
        sizes = torch.tensor([1 / state.spec.steps for state in padded], device=self.device).view(-1, 1, 1, 1)
        return latents + sizes * velocity, velocity

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
        with padding([state.task for state in states], self.card.buckets) as size:
            padded = [*states, *[states[0]] * (size - len(states))]
            latents = self.autoencoder.denormalise(torch.stack([state.latents for state in padded]))
            small = self.autoencoder.decode(latents).clamp(-1, 1)  # [B, 3, 64, 64]
        # Row by row beyond 64 pixels: a batch gains nothing there, and only those who ask for it pay.
        return [
            _to_picture(small[row] if state.spec.width == small.shape[-1] else self.upscaler(small[row : row + 1])[0])
            for row, state in enumerate(states)
        ]

    @torch.inference_mode()
    def preview(self, state: FlowState) -> Picture | None:
        """64x64: where the last step's velocity would lead if it stayed as it is."""
        if state.velocity is None:
            return None
        clean = state.latents + (1 - state.time) * state.velocity
        return _to_picture(self.autoencoder.decode(self.autoencoder.denormalise(clean[None]))[0])

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
