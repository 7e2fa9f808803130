"""The registry of generator families: the class that loads a model card, and the device it runs on."""

from __future__ import annotations

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.base import Generator
from limner_worker.generators.null import Null

# torch takes seconds and much memory to import, so only the families that need it import it.


def load(card: ModelCard, settings: Settings) -> Generator:
    """Load the model of a card. Raises CardError."""
    if card.family == "null":
        return Null(card)
    import torch  # noqa: PLC0415

    torch.set_num_threads(settings.threads)
    device = pick_device(card.device or settings.device)
    return _diffusers(card, device, settings) if card.family == "diffusers" else _builtin(card, device, settings)


def pick_device(wanted: str) -> str:
    """Return the device that a setting names; `auto` is the first available of CUDA, Apple's GPU and the CPU."""
    import torch  # noqa: PLC0415

    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _builtin(card: ModelCard, device: str, settings: Settings) -> Generator:
    from limner_worker.generators.builtin.conditioned import load_encoder  # noqa: PLC0415
    from limner_worker.generators.builtin.latent_flow import LatentFlow  # noqa: PLC0415
    from limner_worker.generators.builtin.one_step import OneStep  # noqa: PLC0415

    encoder = load_encoder(card, device, settings)
    return (OneStep if card.family == "one-step" else LatentFlow)(card, device, encoder)


def _diffusers(card: ModelCard, device: str, settings: Settings) -> Generator:
    try:
        from transformers.utils import logging as transformers_logging  # noqa: PLC0415

        from limner_worker.generators.diffusers.pipeline import DiffusersPipeline  # noqa: PLC0415
        from limner_worker.generators.diffusers.self_check import check_batching  # noqa: PLC0415
    except ImportError as error:
        raise CardError(f"{card.name} needs diffusers: pip install 'limner[diffusers]'.") from error
    transformers_logging.set_verbosity_error()  # keep its progress bars and load reports out of the service's log
    transformers_logging.disable_progress_bar()
    pipeline = DiffusersPipeline(card, device, settings.encoder_cache_bytes, settings.encoder_cache_url)
    check_batching(pipeline, settings.cache_dir / "checks")
    return pipeline
