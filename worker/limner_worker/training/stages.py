"""What each stage of the training is made of: its data, network, task, and the weights that it leaves behind."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from limner_worker.encode import TextEncoder
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import Draft, FlowTransformer
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import load_module, save_module
from limner_worker.training import autoencoder as pictures
from limner_worker.training import captions as words
from limner_worker.training import data, flow, loop, report
from limner_worker.training import upscaler as enlargement
from limner_worker.training.drive import drive

Network = TypeVar("Network", bound=nn.Module)
WEIGHTS = {"autoencoder": Autoencoder, "flow": FlowTransformer, "upscaler": Upscaler}


@dataclass(frozen=True)
class Options:
    """How a stage is to be trained; `folder` holds data, checkpoints and weights."""

    folder: Path
    generator: np.random.Generator
    minutes: float
    seed: int
    batch: int
    rate: float
    fresh: bool = False

    def begin(self, stage: str, network: nn.Module, plain: Sequence[nn.Module]) -> loop.Training:
        """Start the stage's training, or continue it from its checkpoint; `plain` modules are left to AdamW."""
        training = loop.begin(network, self.rate, plain)
        if not self.fresh:
            loop.restore(training, self.folder / stage)
        return training


def train_autoencoder(options: Options) -> None:
    """Train encoder and decoder together; leaves `autoencoder.safetensors`."""
    dataset = data.load_dataset(options.folder, options.seed)
    network = Autoencoder()
    training = options.begin("vae", network, (network.encoder[1], network.decoder[-2]))
    task = pictures.AutoencoderTask(network, dataset.small, dataset.training, options.generator, options.batch)

    def ship() -> str:
        averaged = _averaged(training, network)
        pictures.measure_latents(averaged, dataset.small[dataset.training[::4]])
        return _ship_autoencoder(averaged, dataset, options.folder)

    drive(training, task.losses, options.folder / "vae", options.minutes, ship)


def train_decoder(options: Options) -> None:
    """Go on with the decoder alone, so that a flow trained on the latents stays valid."""
    dataset = data.load_dataset(options.folder, options.seed)
    network = load_module(Autoencoder, options.folder / "autoencoder.safetensors").train()
    network.encoder.requires_grad_(False)
    training = options.begin("decoder", network, (network.decoder[-2],))
    task = pictures.AutoencoderTask(network, dataset.small, dataset.training, options.generator, options.batch, True)

    def ship() -> str:
        return _ship_autoencoder(_averaged(training, network), dataset, options.folder)

    drive(training, task.losses, options.folder / "decoder", options.minutes, ship)


def train_draft(options: Options) -> None:
    """Train the flow transformer's draft of the latents; leaves `draft.safetensors`."""
    dataset = data.load_dataset(options.folder, options.seed)
    network = FlowTransformer(data.STYLES)
    training = options.begin("draft", network.draft, (network.draft.text, network.draft.style, network.draft.final))
    task = flow_task(network, dataset, options.folder, options.folder, options.generator, options.batch)

    def ship() -> str:
        averaged = _averaged(training, network.draft)
        save_module(averaged, options.folder / "draft.safetensors", averaged.config)
        return f"error {flow.draft_score(averaged, task, dataset.held_out):.4f} on held-out drawings"

    drive(training, task.draft_losses, options.folder / "draft", options.minutes, ship)


def train_flow(options: Options) -> None:
    """Train the flow transformer on the autoencoder's latents, with its draft as it is; leaves `flow.safetensors`."""
    dataset = data.load_dataset(options.folder, options.seed)
    network = FlowTransformer(data.STYLES)
    network.draft.load_state_dict(load_module(Draft, options.folder / "draft.safetensors").state_dict())
    network.draft.requires_grad_(False)
    first = (network.embed, network.embed_draft, network.time, network.text, network.style)
    plain = (*first, network.final, network.final_modulate)
    training = options.begin("flow", network, plain)
    task = flow_task(network, dataset, options.folder, options.folder, options.generator, options.batch)

    def ship() -> str:
        averaged = _averaged(training, network)
        save_module(averaged, options.folder / "flow.safetensors", averaged.config)
        return f"loss {flow.score(averaged, task, dataset.held_out):.4f} on held-out drawings"

    drive(training, task.losses, options.folder / "flow", options.minutes, ship)


def flow_task(
    network: FlowTransformer,
    dataset: data.Dataset,
    weights: Path,
    folder: Path,
    generator: np.random.Generator,
    batch: int,
) -> flow.FlowTask:
    """Encode all drawings with the autoencoder in `weights`, and join them with their captions in `folder`."""
    autoencoder = load_module(Autoencoder, weights / "autoencoder.safetensors")
    means, logvars = pictures.encode_all(autoencoder, dataset.small)
    deviations = (0.5 * logvars).exp() / autoencoder.latent_std[:, None, None]
    styles = torch.tensor([data.STYLES.index(drawing.style) for drawing in dataset.drawings])
    table = words.CaptionTable.load(folder / "captions.safetensors")
    shares = words.weights(dataset.drawings)[dataset.training]
    return flow.FlowTask(
        network,
        autoencoder.normalise(means),
        deviations,
        styles,
        table,
        dataset.training,
        shares / shares.sum(),
        generator,
        batch,
    )


def train_upscaler(options: Options) -> None:
    """Train the upscaler on clean and on decoded drawings; leaves `upscaler.safetensors`."""
    dataset = data.load_dataset(options.folder, options.seed)
    autoencoder = load_module(Autoencoder, options.folder / "autoencoder.safetensors")
    decoded = np.stack([report.to_pixels(picture) for picture in pictures.reconstruct(autoencoder, dataset.small)])
    network = Upscaler()
    training = options.begin("upscaler", network, (network.body[0], network.last))
    task = enlargement.UpscalerTask(
        network, dataset.small, decoded, dataset.large, dataset.training, options.generator, options.batch
    )
    unseen = dataset.held_out[::4]

    def ship() -> str:
        averaged = _averaged(training, network)
        save_module(averaged, options.folder / "upscaler.safetensors", averaged.config)
        clean = enlargement.score(averaged, dataset.small[unseen], dataset.large[unseen])
        smeared = enlargement.score(averaged, decoded[unseen], dataset.large[unseen])
        return (
            f"{clean[0]:.2f} dB on held-out drawings (bicubic {clean[1]:.2f}), "
            f"{smeared[0]:.2f} dB on decoded ones (bicubic {smeared[1]:.2f})"
        )

    drive(training, task.losses, options.folder / "upscaler", options.minutes, ship)


def embed_captions(
    folder: Path, generator: np.random.Generator, on_progress: Callable[[int, int], None] = lambda *_: None
) -> int:
    """Choose and embed the captions of all drawings; leaves `captions.safetensors`, returns their number."""
    drawings = data.load_dataset(folder).drawings
    table = words.caption_table(drawings, TextEncoder().encode, generator, on_progress)
    table.save(folder / "captions.safetensors")
    return len(table.embeddings)


def export(folder: Path, target: Path) -> dict[str, int]:
    """Copy the three trained networks to `target`, each at once or not at all; returns their sizes in bytes.

    Raises:
        WeightsError: one of them was not trained yet, or does not load.
    """
    for name, kind in WEIGHTS.items():
        load_module(kind, folder / f"{name}.safetensors")
    target.mkdir(parents=True, exist_ok=True)
    sizes: dict[str, int] = {}
    for name in WEIGHTS:
        temporary = target / f".{name}.safetensors"
        shutil.copyfile(folder / f"{name}.safetensors", temporary)
        sizes[name] = temporary.replace(target / f"{name}.safetensors").stat().st_size
    return sizes


def _averaged(training: loop.Training, network: Network) -> Network:
    averaged = copy.deepcopy(network)
    averaged.load_state_dict(training.average)
    return averaged.eval()


def _ship_autoencoder(network: Autoencoder, dataset: data.Dataset, folder: Path) -> str:
    save_module(network, folder / "autoencoder.safetensors", network.config)
    unseen = dataset.small[dataset.held_out]
    shown = [row for at in range(0, min(24, len(unseen)), 12) for row in _compare(network, unseen[at : at + 12])]
    report.save_sheet(shown, folder / "vae" / "reconstructions.png")
    return f"{pictures.score(network, unseen):.2f} dB on {len(unseen)} held-out drawings"


def _compare(network: Autoencoder, pixels: np.ndarray) -> list[Tensor]:
    return [pictures.to_tensor(pixels), pictures.reconstruct(network, pixels)]
