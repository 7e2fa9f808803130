"""Which family serves a card, and the loading of all the models that a worker is to serve."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from transformers.utils import logging as transformers_logging

from limner_shared.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_shared.telemetry import get_logger
from limner_worker.conditioning import CachedEncoder
from limner_worker.encode import EncoderError, TextEncoder
from limner_worker.generators.base import Generator, locate
from limner_worker.generators.latent_flow import LatentFlow

log = get_logger(__name__)


def load_generators(cards: Iterable[ModelCard], settings: Settings) -> dict[str, Generator]:
    """Load each card's model; one that cannot be loaded is reported and left out.

    Raises CardError if none can be loaded.
    """
    torch.set_num_threads(settings.threads)
    transformers_logging.set_verbosity_error()  # its progress bars and load reports are not for a service's log
    transformers_logging.disable_progress_bar()
    device = pick_device(settings.device)
    loaded: dict[str, Generator] = {}
    for card in cards:
        try:
            loaded[card.name] = load(card, device, settings)
        except CardError as error:
            log.error("model left out", model=card.name, reason=error.message)
        else:
            log.info("model loaded", model=card.name, device=device)
    if not loaded:
        raise CardError("No model could be loaded, so this worker has nothing to do; the reasons are in the log above.")
    return loaded


def load(card: ModelCard, device: str, settings: Settings) -> Generator:
    """Load one model. Raises CardError."""
    if card.family == "diffusers":
        # An extra of its own: the built-in models do without it.
        try:
            from limner_worker.generators.diffusers_pipeline import DiffusersPipeline  # noqa: PLC0415
        except ImportError as error:
            raise CardError(f"{card.name} needs diffusers: pip install 'limner[diffusers]'.") from error
        return DiffusersPipeline(card, device)
    if card.text_encoder is None:
        raise CardError(f"{card.name}: the family {card.family!r} needs a text_encoder.")
    try:
        encoder = TextEncoder(str(locate(card.text_encoder)), device)
    except EncoderError as error:
        raise CardError(f"{card.name}: {error}") from error
    return LatentFlow(card, device, CachedEncoder(encoder.encode, settings.encoder_cache_bytes))


def pick_device(wanted: str) -> str:
    """`auto` is the first of CUDA, Apple's GPU and the CPU that is there."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
