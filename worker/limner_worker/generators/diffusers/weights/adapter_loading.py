"""A card's LoRA adapters: loaded, used, and refused if they were made for another base model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

import peft
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import Tensor, nn

from limner_shared.domain.card_fields import Source
from limner_shared.domain.cards import ModelCard
from limner_shared.domain.jobs import JobSpec
from limner_shared.telemetry import get_logger
from limner_worker.generators.diffusers.weights.hub_files import adapter_files
from limner_worker.generators.diffusers.weights.weight_files import SUFFIX, adapter_weights, check_files, refuse_file
from limner_worker.generators.model_errors import AdapterMismatch, DamagedWeights
from limner_worker.generators.weight_files import locate, sha256

log = get_logger(__name__)

MARKS: Final = (".lora_A.", ".lora_down.", ".lora.down.", "_lora.down.")
"""What the names of a layer's first matrix have in common, in the formats that diffusers reads."""

IP_ADAPTER_MARKS: Final = ("ip_adapter", "image_proj.")
"""What names of the layers of an IP-Adapter contain, also in one file with a LoRA."""


UNKNOWN: Final = (("", 0.0),)
"""What no image uses."""


class UsedAdapters(NamedTuple):
    """The adapters that an image's calls need."""

    loras: tuple[tuple[str, float], ...] = ()
    """The name and weight of each LoRA adapter."""
    reference_scale: float = 0.0
    """The weight of the IP-Adapter; 0 without reference pictures."""

    @classmethod
    def of(cls, spec: JobSpec) -> UsedAdapters:
        """The adapters of a request."""
        return cls(tuple((each.name, each.weight) for each in spec.adapters), spec.reference_scale)


class ActiveAdapters:
    """Which of a pipeline's adapters its modules use now."""

    def __init__(self, pipeline: Any, card: ModelCard, as_loaded: Callable[[], None]) -> None:
        """At first, none is used. `as_loaded` gives the modules the attention processors that they were loaded with."""
        self._pipeline = pipeline
        self._is_compiled = card.compile or card.cuda_graphs
        self._as_loaded = as_loaded
        self._now = UsedAdapters()

    def changing(self) -> None:
        """Say that adapters are about to be loaded or unloaded: which of them the modules then use is not known."""
        self._as_loaded()
        self._now = self._now._replace(loras=UNKNOWN)

    def use(self, adapters: UsedAdapters) -> None:
        """Use these and no others."""
        if adapters == self._now:
            return
        if adapters.reference_scale != self._now.reference_scale:
            self._as_loaded()  # its processors hold the scale
            self._pipeline.set_ip_adapter_scale(adapters.reference_scale)
        if adapters.loras and adapters.loras != self._now.loras:
            if self._now.loras in ((), UNKNOWN):  # it walks through all layers, as the next call does
                self._pipeline.enable_lora()
            self._pipeline.set_adapters([name for name, _ in adapters.loras], [weight for _, weight in adapters.loras])
            if self._is_compiled:
                _weigh_by_tensors(self._pipeline)
        elif self._now.loras and not adapters.loras:
            self._pipeline.disable_lora()
        self._now = adapters


def _weigh_by_tensors(pipeline: Any) -> None:
    """Turn the weights of adapters into tensors: for each number, a module would be compiled again."""
    modules = (each for each in pipeline.components.values() if isinstance(each, nn.Module))
    layers = (layer for module in modules for layer in module.modules() if isinstance(layer, BaseTunerLayer))
    for layer in cast("Iterable[Any]", layers):
        device = next(layer.parameters()).device
        layer.scaling = {name: torch.tensor(float(weight), device=device) for name, weight in layer.scaling.items()}


def load_adapters(pipeline: Any, card: ModelCard) -> dict[str, str]:
    """Load the card's adapters; returns the SHA-256 of each one's weights. Raises CardError, or ValueError for a folder
    of adapters that the pipeline could not load.
    """
    if card.adapter_folder is not None and not hasattr(pipeline, "load_lora_weights"):
        raise ValueError(f"{type(pipeline).__name__} takes no adapters: remove adapter_folder from the card")
    return {name: load_adapter(pipeline, name, source) for name, source in card.adapters.items()}


def load_adapter(pipeline: Any, name: str, source: Source) -> str:
    """Load a LoRA adapter from a folder or a hub; return the SHA-256 of its weights in hex. Raises CardError."""
    if source.folder is not None:
        refuse_file(source.folder, "name one that holds this file alone, or put it into adapter_folder")
    folder = locate(source) if source.hub is None else adapter_files(source)
    check_files(folder)
    names = [each.relative_to(folder).as_posix() for each in folder.rglob(f"*{SUFFIX}")]
    file = folder / adapter_weights(names, str(folder))
    load_file(pipeline, name, file, name)
    return sha256(file)


def load_file(pipeline: Any, name: str, file: Path, known_as: str) -> None:
    """Load a file of a LoRA adapter, by which name the pipeline is to know it. Raises CardError, which says `name`."""
    with safe_open(file, "pt") as tensors:
        keys = list(tensors.keys())
        broken = [key for key in keys if not tensors.get_tensor(key).float().isfinite().all()]
    if broken:  # one such number makes every picture with the adapter black
        raise DamagedWeights(f"the adapter {name} has weights that are not finite numbers: {', '.join(broken[:3])}")
    if any(mark in key for key in keys for mark in IP_ADAPTER_MARKS):
        raise AdapterMismatch(
            f"the adapter {name} is an IP-Adapter, which needs a picture of its own: name it in [reference]; adapters "
            "are LoRA adapters only"
        )
    try:
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # about a second adapter beside the first
            pipeline.load_lora_weights(
                str(file.parent), weight_name=file.name, adapter_name=known_as, use_safetensors=True
            )
    except torch.OutOfMemoryError:
        raise
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise AdapterMismatch(f"the adapter {name} does not fit this {type(pipeline).__name__}: {error}") from error
    layers = sum(any(mark in key for mark in MARKS) for key in keys)
    fitting = _layers(pipeline, known_as)
    if not fitting:
        raise AdapterMismatch(
            f"the adapter {name} was made for another base model: none of its {layers} layers is in this "
            f"{type(pipeline).__name__}"
        )
    if fitting < layers:
        log.warning("a part of an adapter does not fit", adapter=name, layers=layers, fitting=fitting)


def unload(pipeline: Any, known_as: str) -> None:
    """Remove an adapter, as far as it was loaded, by the name by which the pipeline knows it."""
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # about one that was in use: it is idle
        pipeline.delete_adapters([known_as])


def _layers(pipeline: Any, adapter: str) -> int:
    """How many layers of the pipeline's modules have weights of the adapter."""
    return sum(any(mark in f".{key}" for mark in MARKS) for key, _ in _tensors(pipeline, adapter))


def adapter_size(pipeline: Any, adapter: str) -> int:
    """How many bytes the weights of a loaded adapter have."""
    return sum(tensor.nbytes for _, tensor in _tensors(pipeline, adapter))


def _tensors(pipeline: Any, adapter: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights of an adapter in the pipeline's modules, with their names."""
    for module in pipeline.components.values():
        if adapter in (getattr(module, "peft_config", None) or {}):
            yield from cast("Any", peft).get_peft_model_state_dict(module, adapter_name=adapter).items()
