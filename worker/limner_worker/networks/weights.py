"""Storage of networks: float16 safetensors files whose metadata holds the constructor's arguments."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

Module = TypeVar("Module", bound=nn.Module)

SHIPPED: Final = Path(__file__).parents[1] / "models"
"""The built-in models' weights, one folder per network."""


class WeightsError(ValueError):
    """The weights file is missing, damaged, or belongs to another network."""


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file atomically: a reader finds the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Not `save_file`: it creates files that only the owner may read, and these become part of a package.
        temporary.write_bytes(save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata=metadata))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def save_module(module: nn.Module, path: Path, config: Mapping[str, object]) -> None:
    """Store `module` as float16 with `config`, its constructor's arguments.

    Raises:
        FloatingPointError: its weights are not finite, or not in float16.
    """
    half_precision = {name: value.detach().to("cpu", torch.float16) for name, value in module.state_dict().items()}
    require_finite(half_precision)
    write_tensors(path, half_precision, {"network": type(module).__name__, "config": json.dumps(dict(config))})


def require_finite(tensors: Mapping[str, Tensor]) -> None:
    """Raise FloatingPointError if any number in these tensors is not finite."""
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise FloatingPointError(f"{name} is not finite; resume the last checkpoint with a lower rate")


def load_module(kind: type[Module], path: Path) -> Module:
    """Build a `kind` from a file written by `save_module`, in float32 and evaluation mode.

    Raises:
        WeightsError: the file is missing, damaged, or holds another network.
    """
    name, config = _read_header(path)
    if name != kind.__name__:
        raise WeightsError(f"{path} holds a {name}, not a {kind.__name__}")
    module = kind(**config)
    try:
        with safe_open(path, framework="pt") as file:
            module.load_state_dict({key: file.get_tensor(key).float() for key in file.keys()})  # noqa: SIM118
    except (RuntimeError, SafetensorError) as error:
        raise WeightsError(f"{path} does not match its metadata: {error}") from error
    return module.eval()


def _read_header(path: Path) -> tuple[str, dict[str, object]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        return metadata["network"], json.loads(metadata["config"])
    except FileNotFoundError as error:
        raise WeightsError(f"there are no weights at {path}") from error
    except (SafetensorError, KeyError, json.JSONDecodeError, OSError) as error:
        raise WeightsError(f"{path} is not a weights file of Limner: {error}") from error


def weights_size(module: nn.Module) -> int:
    """Return the size of the module's parameters and buffers, in bytes."""
    return sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
