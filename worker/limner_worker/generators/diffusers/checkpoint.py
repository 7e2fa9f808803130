"""Checkpoints of unfinished images: the latents, and the state of the scheduler, of guiders and of the generator."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor

from limner_worker.generators.nested_tensors import is_list, is_mapping


class Output(dict[str, Any]):
    """Values by name and by index, like an output class of diffusers."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(name)

    def __getitem__(self, key: Any) -> Any:
        return list(self.values())[key] if isinstance(key, (int, slice)) else super().__getitem__(key)


class Checkpoint:
    """The state of an unfinished image, stored as safetensors and never as pickle."""

    def __init__(self, moves: int, shape: list[Any], tensors: dict[str, Tensor], values: dict[str, Any]) -> None:
        self.moves = moves
        """The number of scheduler steps done."""
        self._shape = shape
        self._tensors = tensors
        self._values = values
        self._control_output: Any = None

    @classmethod
    def write(
        cls, moves: int, latents: Tensor, denoised: Any, parts: Mapping[str, Any], generator: torch.Generator
    ) -> bytes:
        """Return the state as one safetensors file in memory; `parts` are those that have state, by name."""
        tensors: dict[str, Tensor] = {"latents": latents, "generator": generator.get_state()}
        values: dict[str, dict[str, Any]] = {}
        for part, owner in parts.items():
            values[part] = {}
            attributes = cast("dict[str, Any]", vars(owner))
            for name, value in attributes.items():
                if isinstance(value, Tensor):
                    tensors[f"{part}.{name}"] = value
                elif is_list(value) and any(isinstance(item, Tensor) for item in value):
                    values[part][name] = len(value)
                    tensors |= {f"{part}.{name}.{i}": item for i, item in enumerate(value) if isinstance(item, Tensor)}
                elif value is None or isinstance(value, (bool, int, float, str)):
                    values[part][name] = {"value": value}
        orders = {name: _order(tensor) for name, tensor in tensors.items() if not tensor.is_contiguous()}
        about = {"moves": moves, "shape": _describe(denoised), "parts": values, "orders": orders}
        whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
        return save(whole, {"limner": json.dumps(about)})

    @classmethod
    def read(cls, data: bytes | None) -> Checkpoint | None:
        """Read what `write` returned; None gives None."""
        if data is None:
            return None
        length = int.from_bytes(data[:8], "little")
        about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["limner"])
        tensors = load(data)
        for name, order in about.get("orders", {}).items():  # a worker of an earlier release writes none
            tensors[name] = _ordered(tensors[name], order)
        return cls(about["moves"], about["shape"], tensors, about["parts"])

    def denoised(self, device: torch.device) -> Any:
        """Return zeros in the shape of the denoiser's output, for the steps that are not computed again."""
        return _zeros(self._shape, self._tensors["latents"].dtype, device)

    def control_output(self, make: Callable[[], Any]) -> Any:
        """Return a control network's output for the steps that are not computed again. Nothing reads it, so it is made
        once for all of them.
        """
        if self._control_output is None:
            self._control_output = make()
        return self._control_output

    def restore(self, parts: Mapping[str, Any], generator: torch.Generator, device: torch.device) -> Tensor:
        """Restore the state of the parts and of the random generator; return the latents.

        Raises KeyError for a part that the image does not have.
        """
        for part, values in self._values.items():
            for name, value in values.items():
                if isinstance(value, int):
                    items = [self._tensors.get(f"{part}.{name}.{index}") for index in range(value)]
                    setattr(parts[part], name, [item if item is None else item.to(device) for item in items])
                else:
                    setattr(parts[part], name, value["value"])
        for name, tensor in self._tensors.items():
            part, _, attribute = name.partition(".")
            if attribute and "." not in attribute:
                now = getattr(parts[part], attribute, None)
                setattr(parts[part], attribute, tensor.to(now.device if isinstance(now, Tensor) else device))
        generator.set_state(self._tensors["generator"])
        self._control_output = None
        return self._tensors["latents"].to(device)


def _order(tensor: Tensor) -> list[int]:
    """Return the dimensions in their order in memory, which safetensors does not keep.

    Kernels round by it: with another one a picture has other bytes.
    """
    return sorted(range(tensor.dim()), key=tensor.stride, reverse=True)


def _ordered(tensor: Tensor, order: Sequence[int]) -> Tensor:
    """Return a tensor with the same elements, and its dimensions in this order in memory."""
    return tensor.permute(*order).contiguous().permute(*(order.index(dimension) for dimension in range(len(order))))


def _describe(output: Any) -> Any:
    if isinstance(output, Tensor):
        return {"tensor": list(output.shape)}
    if is_mapping(output):
        return {"named": {str(name): _describe(item) for name, item in output.items()}}
    return {"list" if is_list(output) else "tuple": [_describe(item) for item in output]}


def _zeros(shape: Any, dtype: torch.dtype, device: torch.device) -> Any:
    [(kind, inner)] = shape.items()
    if kind == "tensor":
        return torch.zeros(inner, dtype=dtype, device=device)
    if kind == "named":
        return Output({name: _zeros(item, dtype, device) for name, item in inner.items()})
    return (list if kind == "list" else tuple)(_zeros(item, dtype, device) for item in inner)
