"""Which neural family serves a card, on which device."""

from __future__ import annotations

import functools

import torch
from transformers.utils import logging as transformers_logging

from limner_shared.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.conditioning import CachedEncoder
from limner_worker.encode import EncoderError, TextEncoder
from limner_worker.generators.base import Generator, locate
from limner_worker.generators.latent_flow import LatentFlow


def load(card: ModelCard, settings: Settings) -> Generator:
    """Load one model. Raises CardError."""
    torch.set_num_threads(settings.threads)
    transformers_logging.set_verbosity_error()  # its progress bars and load reports are not for a service's log
    transformers_logging.disable_progress_bar()
    device = pick_device(settings.device)
    if card.family == "diffusers":
        # An extra of its own: the built-in models do without it.
        try:
            from limner_worker.generators.diffusers_pipeline import DiffusersPipeline  # noqa: PLC0415
        except ImportError as error:
            raise CardError(f"{card.name} needs diffusers: pip install 'limner[diffusers]'.") from error
        return DiffusersPipeline(card, device, settings.encoder_cache_bytes)
    if card.text_encoder is None:
        raise CardError(f"{card.name}: the family {card.family!r} needs a text_encoder.")
    try:
        encoder = TextEncoder(str(locate(card.text_encoder)), device)
    except EncoderError as error:
        raise CardError(f"{card.name}: {error}") from error
    encode = functools.partial(encoder.encode, fixed_length=card.text_batch > 1)
    return LatentFlow(card, device, CachedEncoder(encode, settings.encoder_cache_bytes, card.text_batch))


def pick_device(wanted: str) -> str:
    """`auto` is the first of CUDA, Apple's GPU and the CPU that is there."""
    if wanted != "auto":
        return wanted
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
