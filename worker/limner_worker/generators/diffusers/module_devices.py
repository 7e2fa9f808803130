"""Devices and dtypes of modules that never move, so that diffusers need not search for them.

At each use of a pipeline's, a text encoder's or a denoiser's device, diffusers looks for offloading hooks in every
submodule: 15 ms for each image of SDXL on the engine's thread. At each use of a dtype it looks for hooks that cast.
"""

from __future__ import annotations

from typing import Any, Final, cast
from weakref import WeakKeyDictionary

import torch
from diffusers.hooks import group_offloading
from diffusers.models import modeling_utils
from diffusers.models.modeling_utils import ModelMixin
from torch import nn

_known: WeakKeyDictionary[nn.Module, torch.device] = WeakKeyDictionary()
_SEARCH: Final = "_get_group_onload_device"
"""The function of diffusers that looks for a module's device; it has no public name."""
_search: Any = getattr(group_offloading, _SEARCH)
_example: WeakKeyDictionary[nn.Module, nn.Parameter] = WeakKeyDictionary()
"""A parameter of each module, whose dtype diffusers takes for the module's. A cast changes it: it is read each time."""
_find_dtype: Any = modeling_utils.get_parameter_dtype


def remember_devices(pipeline: Any) -> None:
    """Remember the devices of the pipeline's modules, which must have no hooks and must not move from now on."""
    for module in pipeline.components.values():
        first = next(module.parameters(), None) if isinstance(module, nn.Module) else None
        if first is not None:
            _known[module] = first.device
        if isinstance(module, ModelMixin) and not getattr(module, "_keep_in_fp32_modules", None) and not _casts(module):
            floating = next((each for each in module.parameters() if each.is_floating_point()), None)
            if floating is not None:
                _example[module] = floating


def _casts(module: nn.Module) -> bool:
    return any(hasattr(part, "_diffusers_hook") for part in module.modules())


def _device(module: nn.Module) -> torch.device:
    """Return a module's device if it is remembered, otherwise that of its hook; raises ValueError without one."""
    known = _known.get(module)
    return _search(module) if known is None else known


def _dtype(module: nn.Module) -> torch.dtype:
    """Return a module's dtype from its remembered parameter, otherwise as diffusers finds it."""
    example = _example.get(module)
    return cast("torch.dtype", _find_dtype(module) if example is None else example.dtype)


setattr(group_offloading, _SEARCH, _device)
modeling_utils.get_parameter_dtype = _dtype
