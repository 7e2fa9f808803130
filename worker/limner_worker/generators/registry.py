"""The registry of generator families: the class that loads a model card, and the device it runs on."""

from __future__ import annotations

from typing import Final

from limner_shared.domain.cards import ModelCard
from limner_shared.errors import CardError
from limner_shared.settings import Settings
from limner_worker.generators import device_faults
from limner_worker.generators.base import Generator
from limner_worker.generators.null import Null

OPERATORS: Final = "torchvision::"
"""What an operator that only a fitting torchvision has is called in errors."""

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


def _missing(error: BaseException) -> str:
    """Return what is to be installed so that diffusers can be imported."""
    cause: BaseException | None = error
    while cause is not None:
        if OPERATORS in str(cause):
            return (
                "cannot use diffusers: the installed torchvision was built for another torch. Install both from the "
                f"same index, or remove torchvision ({cause})."
            )
        cause = cause.__cause__ or cause.__context__
    return "needs diffusers: pip install 'limner[diffusers]'."


def _diffusers(card: ModelCard, device: str, settings: Settings) -> Generator:
    try:
        from diffusers.utils import logging as diffusers_logging  # noqa: PLC0415
        from transformers.utils import logging as transformers_logging  # noqa: PLC0415

        from limner_worker.generators.diffusers.pipeline import DiffusersPipeline  # noqa: PLC0415
        from limner_worker.generators.diffusers.self_check import check_batching  # noqa: PLC0415
    except (ImportError, RuntimeError) as error:  # torchvision raises the latter over another build of torch
        device_faults.reraise(error)
        raise CardError(f"{card.name} {_missing(error)}") from error
    for logging in (diffusers_logging, transformers_logging):
        logging.set_verbosity_error()  # their warnings quote prompts, and reports and bars are no lines of a log
        logging.disable_progress_bar()
    try:
        pipeline = DiffusersPipeline(card, device, settings.encoder_cache_bytes, settings.encoder_cache_url)
        check_batching(pipeline, settings.cache_dir / "checks")
    except CardError:
        raise
    except Exception as error:
        # A pipeline may raise anything, also where no check expects it; the other models must still be served.
        device_faults.reraise(error)
        raise CardError(f"{card.name}: {card.source.name} does not work: {type(error).__name__}: {error}") from error
    return pipeline
