"""Reference pictures: by an IP-Adapter that is loaded beside a pipeline, or beside its own input picture."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from PIL import Image

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_worker.generators.base import Picture
from limner_worker.generators.diffusers.weights.loaded_parts import require_complete
from limner_worker.generators.diffusers.weights.weight_files import check_files, refuse_file
from limner_worker.generators.nested_tensors import size_in_bytes
from limner_worker.generators.text_encoding.cache import ByteCache
from limner_worker.generators.weight_files import locate, weight_hashes

ARGUMENT: Final = "ip_adapter_image"
ENCODER: Final = "image_encoder"
FLUX_ENCODER: Final = "image_encoder_pretrained_model_name_or_path"
"""By which name FLUX is given the encoder's folder; all others are given its name within the adapter's folder."""
NONE_GIVEN: Final = Image.new("RGB", (32, 32), "gray")
"""What the pipeline is given with a request without references, whose scale is 0: the adapter then adds nothing."""

REMEMBERED_BYTES: Final = 64 << 20
"""The size of the encoded references that a pipeline remembers; those of one request have a few MiB at most."""


def load_references(pipeline: Any, card: ModelCard) -> dict[str, str]:
    """Load the card's IP-Adapter; return the SHA-256 of its weights files and its encoder's in hex, empty for a card
    without one.

    Raises ValueError, or CardError for its files.
    """
    adapter = card.reference and card.reference.adapter
    if adapter is None:
        return {}
    if card.offload != "none" or card.device_map is not None:
        raise ValueError("reference: the encoder of an IP-Adapter cannot be moved: remove offload and device_map")
    if not hasattr(pipeline, "load_ip_adapter") or ARGUMENT not in inspect.signature(pipeline.__call__).parameters:
        raise ValueError(f"{type(pipeline).__name__} takes no IP-Adapter: remove reference from the card")
    folder, file = _files(adapter)
    encoder: dict[str, Any] = {"image_encoder_folder": ENCODER}
    if FLUX_ENCODER in inspect.signature(pipeline.load_ip_adapter).parameters:
        encoder = {FLUX_ENCODER: str(folder / ENCODER), "image_encoder_dtype": getattr(torch, card.dtype)}
    pipeline.load_ip_adapter(str(folder), subfolder="", weight_name=file.name, local_files_only=True, **encoder)
    require_complete({ENCODER: getattr(pipeline, ENCODER)})
    pipeline.set_ip_adapter_scale(0.0)
    return weight_hashes(folder)


def remember_encodings(pipeline: Any) -> None:
    """Let a pipeline with an IP-Adapter encode equal references once."""
    pipeline.encode_image = _Encodings(pipeline.encode_image)


class _Encodings:
    """References as a pipeline has encoded them, the recently used ones. The lines of a bulk often have the same, and
    all requests without references have one gray picture.
    """

    def __init__(self, encode: Callable[..., Any]) -> None:
        self._encode = encode
        self._known: ByteCache[Hashable, Any] = ByteCache(REMEMBERED_BYTES)

    def __call__(self, *given: Any, **named: Any) -> Any:
        key = _identity([*given, *named.values()]), tuple(named)
        found = self._known.get(key)
        if found is None:
            found = self._encode(*given, **named)
            self._known.put(key, found, size_in_bytes(found))
        return found


def _identity(given: Any) -> Hashable:
    """Return what is equal for equal arguments of a call: pictures by their content."""
    if isinstance(given, Image.Image):
        return given.size, hashlib.sha256(given.tobytes()).digest()
    if isinstance(given, np.ndarray):  # what FLUX gives in place of negative references
        pixels = cast("Picture", given)
        return pixels.shape, hashlib.sha256(pixels.tobytes()).digest()
    return tuple(map(_identity, cast("list[Any]", given))) if isinstance(given, list) else given


def picture_argument(pictures: Sequence[Picture]) -> dict[str, Any]:
    """Return the argument of a pipeline's call for the references of a request."""
    return {ARGUMENT: [[Image.fromarray(picture) for picture in pictures] or [NONE_GIVEN]]}


def with_references(given: Image.Image | None, references: Sequence[Picture]) -> Any:
    """Return what an argument that takes several pictures is given: the picture of a request, then its references."""
    if not references:
        return given
    return [*([] if given is None else [given]), *(Image.fromarray(picture) for picture in references)]


def _files(adapter: Source) -> tuple[Path, Path]:
    """Return an IP-Adapter's folder and its weights file."""
    if adapter.folder is not None:
        refuse_file(adapter.folder, "name the one that holds it, with its image_encoder")
    folder = locate(adapter)
    check_files(folder)
    files = sorted(folder.glob("*.safetensors"))
    if len(files) != 1:
        found = ", ".join(file.name for file in files) or "no safetensors"
        raise ValueError(f"reference: the folder must hold one file of an IP-Adapter's weights, but holds {found}")
    return folder, files[0]
