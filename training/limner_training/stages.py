"""The stages of the training: data, network, task and resulting weights of each."""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from limner_training import autoencoder as pictures
from limner_training import captions as words
from limner_training import data, flow, gan, loop, metrics, naming, report, tower
from limner_training import upscaler as enlargement
from limner_training.languages import LANGUAGES
from limner_training.runner import run_training
from limner_worker.generators.builtin.known_names import KNOWN, NAMES
from limner_worker.generators.text_encoding.sentence_encoder import SentenceEncoder
from limner_worker.networks.autoencoder import Autoencoder
from limner_worker.networks.flow_transformer import Draft, FlowTransformer
from limner_worker.networks.gan import GanGenerator
from limner_worker.networks.image_tower import ImageTower
from limner_worker.networks.text_head import TextHead
from limner_worker.networks.upscaler import Upscaler
from limner_worker.networks.weights import WeightsError, load_module, save_module
from limner_worker.networks.word_tagger import WordTagger

Network = TypeVar("Network", bound=nn.Module)
SHIPPED: Final[dict[str, dict[str, type[nn.Module]]]] = {
    "limner-text": {"head": TextHead, "tower": ImageTower, "tagger": WordTagger, "follow-ups": WordTagger},
    "limner-vae": {"autoencoder": Autoencoder, "upscaler": Upscaler},
    "limner-flow": {"flow": FlowTransformer},
    "limner-gan": {"gan": GanGenerator},
}
"""The folders of the built-in models, and the networks in each."""


@dataclass(frozen=True)
class Options:
    """Options of a stage; `folder` holds data, checkpoints and weights."""

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
    """Train encoder and decoder together: writes `autoencoder.safetensors`."""
    dataset = data.load_dataset(options.folder, options.seed)
    network = Autoencoder()
    training = options.begin("vae", network, (network.encoder[1], network.decoder[-2]))
    task = pictures.AutoencoderTask(network, dataset.small, dataset.training, options.generator, options.batch)

    def ship() -> str:
        averaged = _averaged(training, network)
        pictures.measure_latents(averaged, dataset.small[dataset.training[::4]])
        return _ship_autoencoder(averaged, dataset, options.folder)

    run_training(training, task.losses, options.folder / "vae", options.minutes, ship)


def train_towers(options: Options) -> None:
    """Train the text head and the evaluator's image tower: writes `head.safetensors` and `tower.safetensors`."""
    dataset = data.load_dataset(options.folder, options.seed)
    captions = words.CaptionTable.load(options.folder / "captions.safetensors")
    network = tower.TwoTowers()
    network.head.mean.copy_(captions.embeddings.mean(0))
    body = network.tower.body
    training = options.begin("text", network, (body[1], network.tower.concept, network.tower.style))
    task = tower.TowerTask(
        network,
        dataset.small,
        _styles(dataset),
        dataset.concepts,
        captions,
        dataset.training,
        options.generator,
        options.batch,
    )

    def ship() -> str:
        averaged = _averaged(training, network)
        save_module(averaged.head, options.folder / "head.safetensors", averaged.head.config)
        save_module(averaged.tower, options.folder / "tower.safetensors", averaged.tower.config)
        naming.write_names(dataset, captions.through(averaged.head), averaged.head, options.folder)
        return metrics.describe_towers(averaged.tower, task.captions.through(averaged.head), dataset)

    run_training(training, task.losses, options.folder / "text", options.minutes, ship)


def train_draft(options: Options) -> None:
    """Train the flow transformer's draft of the latents: writes `draft.safetensors`."""
    dataset = data.load_dataset(options.folder, options.seed)
    network = FlowTransformer(data.STYLES)
    training = options.begin("draft", network.draft, (network.draft.text, network.draft.style, network.draft.final))
    task = flow_task(network, dataset, options.folder, options.folder, options.generator, options.batch)

    def ship() -> str:
        averaged = _averaged(training, network.draft)
        save_module(averaged, options.folder / "draft.safetensors", averaged.config)
        return f"error {flow.draft_score(averaged, task, dataset.held_out):.4f} on held-out drawings"

    run_training(training, task.draft_losses, options.folder / "draft", options.minutes, ship)


def train_flow(options: Options) -> None:
    """Train the flow transformer on the autoencoder's latents, with a frozen draft: writes `flow.safetensors`."""
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

    run_training(training, task.losses, options.folder / "flow", options.minutes, ship)


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
    table = conditioning(folder, weights)
    shares = words.weights(dataset.drawings)[dataset.training]
    return flow.FlowTask(
        network,
        autoencoder.normalise(means),
        deviations,
        _styles(dataset),
        table,
        dataset.training,
        shares / shares.sum(),
        generator,
        batch,
    )


def train_gan(options: Options, objective: gan.Objective = "least-squares") -> None:
    """Train the conditional GAN, initialised from the draft and the decoder: writes `gan.safetensors`.

    With another objective, for comparison, it writes `gan-log.safetensors` or `gan-relativistic.safetensors`.
    """
    dataset = data.load_dataset(options.folder, options.seed)
    guess = gan.initial_generator(
        load_module(Draft, options.folder / "draft.safetensors"),
        load_module(Autoencoder, options.folder / "autoencoder.safetensors"),
    )
    network = gan.Gan(guess)
    stage = "gan" if objective == "least-squares" else f"gan-{objective}"
    training = options.begin(stage, network, (network,))
    for group in training.optimizer.param_groups:
        group["betas"] = (0.0, 0.99)  # with momentum, adversarial training oscillates
    shares = words.weights(dataset.drawings)[dataset.training]
    task = gan.GanTask(
        network,
        objective,
        dataset.small,
        _styles(dataset),
        dataset.concepts,
        conditioning(options.folder, options.folder),
        dataset.training,
        shares / shares.sum(),
        options.generator,
        options.batch,
    )
    critic = metrics.Judge(load_module(ImageTower, options.folder / "tower.safetensors"), task.captions, dataset)

    def ship() -> str:
        averaged = _averaged(training, network.generator, "generator.")
        save_module(averaged, options.folder / f"{stage}.safetensors", averaged.config)
        return metrics.describe(critic, lambda text, style, seed: gan.draw(averaged, text, style, seed))

    run_training(training, task.losses, options.folder / stage, options.minutes, ship)


def conditioning(folder: Path, weights: Path) -> words.CaptionTable:
    """Return the captions in `folder`, embedded by the text head in `weights`."""
    head = load_module(TextHead, weights / "head.safetensors")
    return words.CaptionTable.load(folder / "captions.safetensors").through(head)


def _styles(dataset: data.Dataset) -> Tensor:
    return torch.tensor([data.STYLES.index(drawing.style) for drawing in dataset.drawings])


def train_upscaler(options: Options) -> None:
    """Train the upscaler on clean and on decoded drawings: writes `upscaler.safetensors`."""
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
        reconstructed = enlargement.score(averaged, decoded[unseen], dataset.large[unseen])
        return (
            f"{clean[0]:.2f} dB on held-out drawings (bicubic {clean[1]:.2f}), "
            f"{reconstructed[0]:.2f} dB on decoded ones (bicubic {reconstructed[1]:.2f})"
        )

    run_training(training, task.losses, options.folder / "upscaler", options.minutes, ship)


def embed_captions(
    folder: Path,
    generator: np.random.Generator,
    threads: int = 2,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> int:
    """Choose and embed the captions of all drawings; returns their number.

    Writes `captions.safetensors`, and `translations.json` with the names in other languages.
    """
    drawings = data.load_dataset(folder).drawings
    sources = data.fetched(folder)
    foreign = {language: data.read_names(sources, language) for language in LANGUAGES}
    table = words.caption_table(drawings, foreign, SentenceEncoder(threads).encode, generator, on_progress)
    table.save(folder / "captions.safetensors")
    naming.write_translations(foreign, folder)
    return len(table.embeddings)


def export(folder: Path, target: Path) -> dict[str, int]:
    """Copy the trained networks to the folders of `target`, each atomically; returns their sizes in bytes.

    Raises:
        WeightsError: a network is not trained yet, or does not load.
    """
    networks = [(model, name, kind) for model, parts in SHIPPED.items() for name, kind in parts.items()]
    for _, name, kind in networks:
        load_module(kind, folder / f"{name}.safetensors")
    for name in (NAMES, KNOWN):
        if not (folder / name).is_file():
            raise WeightsError(f"there are no weights at {folder / name}")
    sizes: dict[str, int] = {}
    for model, name, _ in networks:
        (target / model).mkdir(parents=True, exist_ok=True)
        temporary = target / model / f".{name}.safetensors"
        shutil.copyfile(folder / f"{name}.safetensors", temporary)
        sizes[f"{model}/{name}"] = temporary.replace(target / model / f"{name}.safetensors").stat().st_size
    for name in (NAMES, KNOWN):
        shutil.copyfile(folder / name, target / "limner-text" / name)
    return sizes


def _averaged(training: loop.Training, network: Network, prefix: str = "") -> Network:
    """Return a copy of the network with the averaged weights whose names begin with `prefix`."""
    averaged = copy.deepcopy(network)
    state = {name.removeprefix(prefix): value for name, value in training.average.items() if name.startswith(prefix)}
    averaged.load_state_dict(state)
    return averaged.eval()


def _ship_autoencoder(network: Autoencoder, dataset: data.Dataset, folder: Path) -> str:
    save_module(network, folder / "autoencoder.safetensors", network.config)
    unseen = dataset.small[dataset.held_out]
    shown = [row for at in range(0, min(24, len(unseen)), 12) for row in _compare(network, unseen[at : at + 12])]
    report.save_sheet(shown, folder / "vae" / "reconstructions.png")
    return f"{pictures.score(network, unseen):.2f} dB on {len(unseen)} held-out drawings"


def _compare(network: Autoencoder, pixels: np.ndarray) -> list[Tensor]:
    return [pictures.to_tensor(pixels), pictures.reconstruct(network, pixels)]
