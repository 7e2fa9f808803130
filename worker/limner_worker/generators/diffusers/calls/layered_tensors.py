"""What a control network gives the denoiser: a tensor for each layer, in lists, tuples or dictionaries.

Each of them has the rows of all images of a call; elsewhere, a list has an item for each row.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Final, cast

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.controlnets.controlnet_flux import FluxControlNetModel
from diffusers.models.controlnets.controlnet_hunyuan import HunyuanDiT2DControlNetModel
from diffusers.models.controlnets.controlnet_qwenimage import QwenImageControlNetModel
from diffusers.models.controlnets.controlnet_sana import SanaControlNetModel
from diffusers.models.controlnets.controlnet_sd3 import SD3ControlNetModel
from diffusers.models.controlnets.controlnet_union import ControlNetUnionModel
from diffusers.models.controlnets.controlnet_z_image import ZImageControlNetModel
from torch import Tensor

from limner_worker.generators.diffusers.calls.call_pattern import LAYERS
from limner_worker.generators.nested_tensors import divided, map_leaves

LAYERED: Final = frozenset({
    "down_block_additional_residuals", "down_intrablock_additional_residuals", "controlnet_block_samples",
    "controlnet_single_block_samples", "controlnet_cond", "control_type_idx", "conditioning_scale",
    "image_embeds", "ip_adapter_image_embeds",
})  # fmt: skip
"""Arguments whose lists have an item for each layer, each kind of control or each IP-Adapter."""
STACKED: Final = frozenset({"encoder_hidden_states_llama3"})
"""Arguments whose tensors have the layers in their first dimension and the rows in their second (HiDream)."""
SCALE: Final = "conditioning_scale"
"""By what a control network's output is multiplied."""
COUPLED: Final = (ControlNetUnionModel,)
"""Networks whose attention goes across the rows of a call, so that no two images may share one."""
SCALED_LAST: Final = (
    ControlNetModel, FluxControlNetModel, HunyuanDiT2DControlNetModel, QwenImageControlNetModel, SanaControlNetModel,
    SD3ControlNetModel, ZImageControlNetModel,
)  # fmt: skip
"""Networks that multiply their output at the end, so that joined calls may have different scales."""


def dimension_of_rows(name: str, value: Tensor, rows: int) -> int | None:
    """Return which dimension of an argument's tensor has the rows of a call; None if none has."""
    dimension = 1 if name in STACKED else 0
    return dimension if value.ndim > dimension and value.shape[dimension] == rows else None


def layers_key(value: Any, rows: int, identity: Callable[[Any], Hashable]) -> Hashable:
    """Return what layers must have in common to be joined: shapes, and the `identity` of all that has no rows."""
    if isinstance(value, (list, tuple)):
        return LAYERS, tuple(layers_key(item, rows, identity) for item in cast("Sequence[Any]", value))
    if type(value) is dict:
        named = cast("dict[Any, Any]", value)
        return LAYERS, tuple((key, layers_key(item, rows, identity)) for key, item in named.items())
    if isinstance(value, Tensor) and value.ndim and value.shape[0] == rows:
        return "rows", value.shape[1:], value.dtype
    return "same", identity(value)


def joined_layers(values: Sequence[Any], rows: int) -> Any:
    """Join the layers of several calls; what has no rows is that of the first."""
    first = values[0]
    if isinstance(first, (list, tuple)):
        return [joined_layers(items, rows) for items in zip(*values, strict=True)]
    if type(first) is dict:
        return {key: joined_layers([value[key] for value in values], rows) for key in cast("dict[Any, Any]", first)}
    has_rows = isinstance(first, Tensor) and first.ndim and first.shape[0] == rows
    return torch.cat(list(values)) if has_rows else first


def divided_layers(output: Any, size: int, divide: Callable[[Any], list[Any]]) -> list[Any]:
    """Return the shares of `size` calls; `divide` returns those of a tensor."""

    def leaf(value: Any) -> list[Any]:
        if not isinstance(value, list):
            return divide(value)
        parts = [divided(item, size, leaf) for item in cast("list[Any]", value)]
        return [[part[number] for part in parts] for number in range(size)]

    return divided(output, size, leaf)


def scaled(output: Any, scale: float) -> Any:
    """Return the output with every tensor multiplied."""

    def leaf(value: Any) -> Any:
        if isinstance(value, list):
            return [map_leaves(item, leaf) for item in cast("list[Any]", value)]
        return value * scale if isinstance(value, Tensor) else value

    return output if scale == 1 else map_leaves(output, leaf)


def take_scale(arguments: dict[str, Any]) -> float:
    """Take the scale out of a call's arguments: its output is multiplied afterwards, with the same bits."""
    scale = cast("Mapping[str, Any]", arguments).get(SCALE, 1.0)
    if not isinstance(scale, (int, float)):
        return 1.0
    arguments[SCALE] = 1.0
    return scale
