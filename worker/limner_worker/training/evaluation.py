"""What the trained networks are worth: scores on held-out drawings, and a contact sheet to look at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from limner_worker.encode import TextEncoder
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import FlowTransformer
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import load_module
from limner_worker.training import autoencoder as pictures
from limner_worker.training import data, flow, report, stages
from limner_worker.training import upscaler as enlargement

PROMPTS = (
    "red apple",
    "cat face",
    "rocket",
    "pizza",
    "smiling face with sunglasses",
    "a cute dog",
    "sunflower",
    "a slice of watermelon",
    "blue car",
    "guitar",
    "castle",
    "ghost",
    "octopus",
    "a house with a garden",
    "crown",
    "birthday cake",
)


def evaluate(folder: Path, weights: Path, generator: np.random.Generator, seed: int = 0) -> Iterator[str]:
    """Score the networks in `weights` on the held-out drawings of the data in `folder`; yields lines of text.

    Raises:
        DataError: there are no data.
        WeightsError: a network is missing.
    """
    dataset = data.load_dataset(folder, seed)
    unseen = dataset.held_out
    autoencoder = load_module(Autoencoder, weights / "autoencoder.safetensors")
    rebuilt = pictures.reconstruct(autoencoder, dataset.small[unseen])
    score = pictures.psnr(rebuilt, pictures.to_tensor(dataset.small[unseen])).mean()
    yield f"autoencoder  {_size(autoencoder, weights, 'autoencoder')}: {score:.2f} dB PSNR on {len(unseen)} drawings"
    network = load_module(FlowTransformer, weights / "flow.safetensors")
    task = stages.flow_task(network, dataset, weights, folder, generator, 1)
    loss = flow.score(network, task, unseen)
    yield f"flow         {_size(network, weights, 'flow')}: loss {loss:.4f} (held-out velocity error)"
    upscaler = load_module(Upscaler, weights / "upscaler.safetensors")
    decoded = np.stack([report.to_pixels(picture) for picture in rebuilt])
    clean = enlargement.score(upscaler, dataset.small[unseen], dataset.large[unseen])
    smeared = enlargement.score(upscaler, decoded, dataset.large[unseen])
    yield (
        f"upscaler     {_size(upscaler, weights, 'upscaler')}: {clean[0]:.2f} dB (bicubic {clean[1]:.2f}) "
        f"on drawings, {smeared[0]:.2f} dB (bicubic {smeared[1]:.2f}) on decoded ones"
    )


@torch.no_grad()
def contact_sheet(
    weights: Path, prompts: Sequence[str], file: Path, steps: int = 24, guidance: float = 3.0, seed: int = 0
) -> None:
    """Draw each prompt in each style, upscaled to 256 and shown at 128 pixels, and write the sheet as a PNG."""
    network = load_module(FlowTransformer, weights / "flow.safetensors")
    autoencoder = load_module(Autoencoder, weights / "autoencoder.safetensors")
    upscaler = load_module(Upscaler, weights / "upscaler.safetensors")
    text = TextEncoder().encode(prompts)
    rows: list[Tensor] = []
    for style in range(len(network.styles)):
        index = torch.full((len(prompts),), style)
        latents = flow.sample(network, text, index, steps, guidance, seed)
        small = autoencoder.decode(autoencoder.denormalise(latents)).clamp(-1, 1)
        rows.append(nn.functional.avg_pool2d(upscaler(small), 2))
    report.save_sheet([row[at : at + 8] for at in range(0, len(prompts), 8) for row in rows], file)


def _size(network: nn.Module, weights: Path, name: str) -> str:
    count = sum(parameter.numel() for parameter in network.parameters())
    return f"{count / 1e6:.2f} M parameters, {(weights / f'{name}.safetensors').stat().st_size / 1e6:.1f} MB"
