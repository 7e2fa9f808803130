"""Reference pictures, by an IP-Adapter that is loaded beside a pipeline."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from PIL import Image

from limner_shared.domain.card_fields import Reference
from limner_shared.domain.cards import ModelCard
from limner_worker.generators.base import Picture, locate, sha256
from limner_worker.generators.diffusers.weight_files import check_files, refuse_pickle

ARGUMENT: Final = "ip_adapter_image"
ENCODER: Final = "image_encoder"
NONE_GIVEN: Final = Image.new("RGB", (32, 32), "gray")
"""What the pipeline is given with a request without references, whose scale is 0: the adapter then adds nothing."""


def load_references(pipeline: Any, card: ModelCard) -> str:
    """Load the card's IP-Adapter; return the SHA-256 of its weights in hex, empty for a card without one.

    Raises ValueError, or CardError for its files.
    """
    if card.reference is None:
        return ""
    if card.offload != "none" or card.device_map is not None:
        raise ValueError("reference: the encoder of an IP-Adapter cannot be moved: remove offload and device_map")
    if not hasattr(pipeline, "load_ip_adapter") or ARGUMENT not in inspect.signature(pipeline.__call__).parameters:
        raise ValueError(f"{type(pipeline).__name__} takes no IP-Adapter: remove reference from the card")
    folder, file = _files(card.reference)
    pipeline.load_ip_adapter(
        str(folder), subfolder="", weight_name=file.name, image_encoder_folder=ENCODER, local_files_only=True
    )
    pipeline.set_ip_adapter_scale(0.0)
    return sha256(file)


def picture_argument(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return the argument of a pipeline's call for the references of a request."""
    return {ARGUMENT: [[Image.fromarray(picture) for picture in pictures] or [NONE_GIVEN]]}


def _files(reference: Reference) -> tuple[Path, Path]:
    """Return the adapter's folder and its weights file."""
    if reference.adapter.folder is not None:
        refuse_pickle(reference.adapter.folder)
    folder = locate(reference.adapter)
    check_files(folder)
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "no safetensors"
        raise ValueError(f"reference: the folder must hold one file of an IP-Adapter's weights, but holds {found}")
    return folder, files[0]
